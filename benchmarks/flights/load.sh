#!/usr/bin/env bash
# Build the tables of flights.load by hand.
# In: the folder of the package's files, and a connection string. Out: schema flights_by_hand.
set -euo pipefail

sql="$(cd "$(dirname "$0")" && pwd)/load.sql"
cd "$1"
exec "${PSQL:-psql}" --no-psqlrc --quiet --dbname="$2" --file="$sql"
