#!/bin/sh
# The rates of a day, in euros. A real one would ask a bank.
set -eu

echo "rates of ${1:?a day such as 2013-01-31}"
printf '{"EUR": "1", "USD": "0.7366", "GBP": "1.1657"}\n' > "$DAMA_RESULT"
