"""Secrets in commands: whatever program they are for, none is repeated; what is none is kept."""

import json

from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import write_toml
from dama.drafts.secret import secret_in
from dama.drafts.source import draft_source

HIDDEN = "hunter2x"
SECRETS = r"""
export PGPASSWORD=hunter2x; pg_dump prod > /b/x.sql
curl -sS -u"me:hunter2x" https://x/y
curl -sSu me:hunter2x https://x/y
curl -fsSLu me:hunter2x https://x/y
curl --oauth2-bearer hunter2x https://x
curl --cookie "session=hunter2x" https://x
curl -b 'JSESSIONID=hunter2x' https://x
curl -H "Cookie: sid=hunter2x" https://x
curl -H "PRIVATE-TOKEN: hunter2x" https://x
curl -H "X-Auth-Token: hunter2x" https://x
curl -H "Authorization: token hunter2x" https://x
curl -H 'apikey: hunter2x' https://x
curl -H "Api-Key:hunter2x" https://x
curl "https://x/y?api_key=hunter2x&b=1"
curl "https://x/y?token=hunter2x"
curl 'https://x/y?a=1&access_token=hunter2x'
curl "https://x/y?key=hunter2x"
curl "https://x/y?sig=hunter2x&se=2"
curl -X POST -d "user=me&password=hunter2x" https://x
curl -d user=me -d pass=hunter2x https://x
curl -F password=hunter2x https://x
curl --data-urlencode "client_secret=hunter2x" https://x
curl https://hooks.slack.com/services/T00000000/B00000000/hunter2xaaaaaaaaaaaaa
git clone https://oauth2:hunter2x@gitlab.com/x/y.git
git pull https://user:hunter2x@github.com/x/y main
sshpass -p hunter2x ssh me@host run
sshpass -p'hunter2x' ssh me@host run
sshpass -phunter2x scp a me@host:/b
mysql -uroot -phunter2x etl < /x.sql
mysql -uroot -p'hunter2x' -e 'select 1'
mysqldump --user=root --password=hunter2x db | gzip > /b/db.gz
mysqldump -u root -p"hunter2x" db
mysqladmin -u root -phunter2x status
/usr/bin/mysql -u root -phunter2x etl
mysqlimport -u root -phunter2x etl x
mycli -u root -p hunter2x etl
mongodump -u me -p hunter2x --db x
mongo admin -u me -p 'hunter2x' --eval 'db.x'
mongodump --username me --password "hunter2x"
redis-cli -a hunter2x BGSAVE
redis-cli -a 'hunter2x' --no-auth-warning ping
redis-cli -u redis://:hunter2x@host:6379/0 ping
PGPASSWORD='hunter2x' psql -h db -c 'vacuum'
env PGPASSWORD=hunter2x psql
MYSQL_PWD=hunter2x mysqldump x
SSHPASS=hunter2x sshpass -e ssh x
RESTIC_PASSWORD=hunter2x restic backup /x
BORG_PASSPHRASE='hunter2x' borg create ::x /x
AWS_SECRET_ACCESS_KEY=hunter2x AWS_ACCESS_KEY_ID=AKIA aws s3 sync a b
AWS_SECRET_ACCESS_KEY="hunter2x/abc+def" aws s3 ls
export AWS_SECRET_ACCESS_KEY=hunter2x && aws s3 ls
GITHUB_TOKEN=ghp_hunter2x gh x
GH_PAT=hunter2x run
NPM_AUTH=hunter2x run
DATABASE_URL=postgres://u:hunter2x@h/d run
DSN="host=h user=u password=hunter2x dbname=d" run
psql "host=h user=u password=hunter2x dbname=d" -c 'x'
psql "host=h password='hunter2x b' user=u" -c x
psql 'postgresql://h/d?user=u&password=hunter2x'
sqlcmd -S h -U sa -P hunter2x -Q "x"
sqlcmd -S h -U sa -P'hunter2x' -Q "x"
bcp d.t out f -S h -U sa -Phunter2x
isql DSN me hunter2x -b
sqlplus me/hunter2x@//h/s @x.sql
sqlplus -s me/hunter2x @x.sql
expdp system/hunter2x full=y
impdp system/"hunter2x"hunter2xdb full=y
rman target sys/hunter2x@db
ldapsearch -x -D cn=admin -w hunter2x -b dc=x
ldapsearch -D cn=admin -w'hunter2x'
smbclient //h/s -U me%hunter2x -c 'get x'
smbclient //h/s hunter2x -U me
mount -t cifs //h/s /m -o username=me,password=hunter2x
mount.cifs //h/s /m -o user=me,pass=hunter2x,vers=3
lftp -u me,hunter2x sftp://h -e 'mirror'
lftp -e 'open -u me,hunter2x h; mirror; bye'
lftp ftp://me:hunter2x@h/ -e mirror
ncftpput -u me -p hunter2x h / f
wget --user=me --password='hunter2x' https://x
wget --header="Authorization: Basic hunter2xaaaa" x
wget -q --post-data 'user=me&pass=hunter2x' x
rclone sync a :sftp,host=h,user=u,pass=hunter2x:b
openssl enc -aes-256-cbc -k hunter2x -in a -out b
openssl enc -aes-256-cbc -pass pass:hunter2x -in a
openssl pkcs12 -passin pass:hunter2x -in a
gpg --batch --passphrase hunter2x -c f
gpg --passphrase-fd 0 <<< "hunter2x"
echo hunter2x | sudo -S run
echo 'hunter2x' | docker login -u me --password-stdin
docker login -u me -p hunter2x reg
docker run -e POSTGRES_PASSWORD=hunter2x postgres
docker run --env "API_TOKEN=hunter2x" x
docker exec -e PGPASSWORD="hunter2x" db pg_dump x > /b/x
kubectl create secret generic s --from-literal=password=hunter2x
htpasswd -b f me hunter2x
htpasswd -bc /f me 'hunter2x'
zip -P hunter2x a.zip b
7z a -phunter2x a.7z b
unzip -P hunter2x a.zip
unrar x -phunter2x a.rar
tar cz x | openssl enc -k 'hunter2x' > y
echo "machine h login me password hunter2x" > ~/.netrc
printf '%s' "hunter2x" > /run/secret; run --token-file /run/secret
cat <<EOF | run PASSWORD=hunter2x EOF
run <<< "token=hunter2x"
python -c "import x; x.login('me', password='hunter2x')"
python3 -c "x(token='hunter2x')"
node -e "process.env.TOKEN='hunter2x'; require('./x')"
java -Dpassword=hunter2x -jar x.jar
java -Dspring.datasource.password=hunter2x -jar x.jar
java -Djavax.net.ssl.keyStorePassword=hunter2x -jar x.jar
mvn -Dgpg.passphrase=hunter2x deploy
ansible-playbook x.yml -e "ansible_become_pass=hunter2x"
ansible-playbook x.yml --extra-vars '{"db_password":"hunter2x"}'
sudo -u x env SECRET_KEY_BASE=hunter2x rake x
SECRET_KEY_BASE='hunter2x' bundle exec rake x
DJANGO_SECRET=hunter2x python manage.py x
drush sql-dump --db-url=mysql://me:hunter2x@h/d
wp db export --dbpass=hunter2x
pgloader mysql://me:hunter2x@h/d postgresql://h/d
influx -username me -password 'hunter2x' -execute x
influx backup -t hunter2x /b
vault login hunter2x
vault login token=hunter2x
VAULT_TOKEN=s.hunter2x vault read x
heroku run x --token hunter2x
aws configure set aws_secret_access_key hunter2x
az login -u me -p hunter2x
az login --service-principal -u x -p hunter2x --tenant t
az storage blob upload --account-key hunter2x -f x
az storage blob upload --sas-token "?sv=1&sig=hunter2x" -f x
snowsql -a x -u y -p hunter2x
SNOWSQL_PWD=hunter2x snowsql
clickhouse-client --password hunter2x -q x
clickhouse-client --user me --password='hunter2x' -q x
duplicity --encrypt-key x /a ftp://me:hunter2x@h/b
FTP_PASS=hunter2x run
TWILIO_AUTH=hunter2x run
SLACK_WEBHOOK=https://hooks.slack.com/services/T0/B0/hunter2x run
MAIL_PW=hunter2x run
DB_PW='hunter2x' run
dbpass=hunter2x run
P4PASSWD=hunter2x p4 x
svn up --username me --password hunter2x
svn up --no-auth-cache --password="hunter2x"
git -c http.extraHeader="AUTHORIZATION: bearer hunter2x" pull
az devops login --token hunter2x
bash -c 'PASS=hunter2x; export PASS; run'
sh -c "curl -u 'me:hunter2x' x"
su - x -c "PGPASSWORD=\"hunter2x\" psql"
ssh h "mysql -p'hunter2x' x"
ssh h 'export TOKEN="hunter2x"; run'
timeout 5 env "API_KEY=hunter2x" run
eval "$(echo export SECRET=hunter2x)"
declare -x SECRET=hunter2x; run
typeset PASSWORD=hunter2x; run
set -a; PASSWORD=hunter2x; . /x; run
PASS=(hunter2x b); run
PASSWORD+=hunter2x run
PASSWORD=$'hunter2x' run
PASSWORD=a"hunter2x"b run
run --password=$(echo hunter2x)
run --password $(echo 'hunter2x')
run --password=`echo hunter2x`
run --pass:hunter2x
run /p:hunter2x
run -password:hunter2x
run --password:"hunter2x"
run -pw hunter2x
plink -pw hunter2x me@h run
pscp -pw hunter2x a h:b
xfreerdp /u:me /p:hunter2x /v:h
run --db.password=hunter2x
run --set password=hunter2x
run --set-string auth.password=hunter2x
helm upgrade x y --set postgresql.auth.password=hunter2x
run user:hunter2x@h
run --dsn user:hunter2x@tcp(h:3306)/d
run "Server=h;User Id=me;Password=hunter2x;Database=d"
run "Server=h;Uid=me;Pwd=hunter2x;"
run 'AccountName=a;AccountKey=hunter2x==;EndpointSuffix=x'
run "amqp://me:hunter2x@h:5672/%2F"
run mongodb+srv://me:hunter2x@h/d
run jdbc:postgresql://h/d?user=me&password=hunter2x
run "jdbc:oracle:thin:me/hunter2x@h:1521:s"
run --auth me:hunter2x
run --credentials me:hunter2x
run --login me:hunter2x
run --basic-auth "me:hunter2x"
run --userpwd me:hunter2x
http -a me:hunter2x GET x
http x "Authorization:Bearer hunter2x"
xh --bearer hunter2x x
aria2c --http-passwd=hunter2x x
youtube-dl -u me -p hunter2x x
mosquitto_pub -u me -P hunter2x -t x
rabbitmqadmin -u me -p hunter2x x
kinit me <<< 'hunter2x'
echo "hunter2x" | kinit me
expect -c 'spawn ssh h; send "hunter2x\r"'
echo "me:hunter2x" | chpasswd
useradd -p hunter2x me
net use x: \\h\s hunter2x /user:me
curl -K - <<< 'user = "me:hunter2x"'
curl --proxy-user me:hunter2x x
curl --proxy http://me:hunter2x@p:1 x
curl -x http://me:hunter2x@p:1 x
curl --pass hunter2x --cert x y
curl --tlspassword hunter2x x
curl -E cert.pem:hunter2x x
curl --cert cert.pem:hunter2x x
https_proxy=http://me:hunter2x@p:1 run
gpg --yes --batch --passphrase="hunter2x" f
borg create ssh://h/x --encryption-passphrase hunter2x
passwd=hunter2x; run
PASSWORD = hunter2x
mc cp --key=hunter2x a b
run --key hunter2x
aws s3 cp a b --sse-c-key hunter2x
aws s3 cp s3://b/a . --sse-c-copy-source-key=hunter2x
run --aes-key hunter2x
run --shared-key=hunter2x
run --app-key "hunter2x"
tailscale up --authkey hunter2x
docker run -e KEY=hunter2x img
read -rs PGPASSWORD <<< hunter2x
read -r X <<< hunter2x; export PGPASSWORD="$X"
IFS= read -r PW < <(echo hunter2x)
P=hunter2x; mysql -p$P db
PASSWORD="${1:-hunter2x}" run
printf -v PGPASSWORD '%s' hunter2x
setenv DB_PASSWORD hunter2x
set -gx DB_PASSWORD hunter2x
for TOKEN in hunter2x; do run; done
git clone https://hunter2x@github.com/o/r.git
pip install git+https://hunter2x@github.com/o/r
curl https://hunter2x:@api.example.com/v1
curl -u hunter2x: https://api.example.com/v1
npm config set //npm.example.org/:_authToken hunter2x
git config user.password hunter2x
curl -H 'X-Auth: hunter2x' x
kubectl create secret generic x --from-literal=a=hunter2x
psql -c "ALTER USER x PASSWORD 'hunter2x'"
psql -c 'create role x login password '\''hunter2x'\'
mysql -e "SET PASSWORD FOR x = PASSWORD('hunter2x')"
mysql -e "GRANT ALL ON x TO y IDENTIFIED BY 'hunter2x'"
cat <<< hunter2x | docker login --password-stdin
rabbitmqctl add_user me hunter2x
pdftk a output b user_pw hunter2x
ngrok authtoken hunter2x
""".strip().splitlines()
PLAIN = r"""
psql -U me -p 5432 -h db
psql -U me -p "$PORT" -d x
ssh -p 22 me@host run
ssh -i ~/.ssh/id me@host 'cd /x && ./run'
rsync -avz -e 'ssh -p 2222' a me@host:/b
rsync -u -p a b
mkdir -p dir/sub
docker run -u 1000:1000 -p 8080:80 img
docker run -u app:app -p 127.0.0.1:8080:80 img
docker run -v /a:/b -e TZ=UTC img:tag@sha256:abcdef
docker exec -u postgres db pg_dump x
docker compose -p proj up -d
cp -p a b
tar -cpzf x.tgz --exclude=tokens y
curl -fsS https://hc-ping.com/0a1b2c3d-0000-1111-2222-333344445555
curl -s http://localhost:8080/x?a=1
curl "http://h/x?q=key"
curl -b cookies.txt -c cookies.txt https://x
curl -u "$USER:$PASS" https://x
curl -H "Authorization: Bearer ${TOKEN}" https://x
curl -H "Content-Type: application/json" -d '{"a": 1}' x
curl --cert /etc/x.pem --key /etc/x.key https://x
wget -q -O - http://x/cron.php?cron_key=$KEY
mysql --defaults-file=/etc/x.cnf etl < /x.sql
mysql -u root etl -P 3306 < x
mysql -u root -p etl
mysqldump --defaults-extra-file=/etc/mysql/dump.cnf --all-databases | gzip > /b/x.gz
redis-cli -h x -p 6379 BGSAVE
openssl x509 -in a -noout -enddate
zip -r a.zip b -x '*.git*'
7z a a.7z b
find /tmp -type f -mtime +7 -print0 | xargs -0 rm
find . -path ./x -prune -o -print
python manage.py clearsessions
python -m pytest -p no:cacheprovider -u x
node --max-old-space-size=4096 x.js --port 3000
npm run build -- --token-file x
eslint --cache . --cache-location node_modules/.cache/pass
cross-env NODE_ENV=production webpack --config webpack.prod.js --progress
jest --passWithNoTests
vitest run --passWithNoTests
tsc -p tsconfig.json
tsc -p .
webpack -p --config x
nodemon --exec "ts-node -P tsconfig.json" src/i.ts
ncc build x -o dist
semantic-release --no-ci
standard-version --release-as 1.2.3
firebase deploy --only hosting:app --project x
aws s3 sync dist s3://bucket/path --delete
gh-pages -d dist -u "github-actions-bot <a@b.c>"
serve -s build -p 5000
http-server -p 8080 -c-1
ng serve --host 0.0.0.0 --port 4200
react-native run-android --variant=release
concurrently -k -p "[{name}]" -n "a,b" "x" "y"
concurrently "npm:watch:*"
run-p lint:* test:*
npm-run-all --parallel watch:js watch:css
make -C /x -j4 all
cd /x && ./run.sh --tokenize yes
spacy train --tokenizer x
run --password-file /etc/x
run --secret-name db/x
run --token-env X
run --passes 3
run --pass-through a
run --passive
ftp --passive h
ffmpeg -pass 1 -i x
run --key name
sort -t, -k2 x
sort --key=2 x
awk -F: '{print $1":"$2}' /etc/passwd
sed -i 's/password: .*/x/' f
grep -c passwd /etc/shadow
echo done | mail -s "x" me@h.com
echo "ok" | tee /log
echo $PASS | docker login -u me --password-stdin
echo "$PASS" | sudo -S run
cat /run/secret | docker login -u me --password-stdin
gpg --batch --passphrase-file /x -c f
gpg --passphrase-fd 3 x 3</k
pg_dump -Fc -U me -h db prod > /b/prod.dump
pg_dump "$DATABASE_URL" | gzip > x
PGPASSFILE=/x/.pgpass psql -h db
flock -n /tmp/x.lock ./run
certbot renew --quiet --post-hook "systemctl reload nginx"
systemctl restart x@1.service
git push origin main:prod
git clone git@github.com:x/y.git
git log --format='%an:%ae@x'
scp a me@h:b
rsync me@h::mod/x /y
12 at: foo@bar
user: etl, host: db
the password is in the file
Loads tokens: see docs
auth: none
secrets: see vault
key: value
run a:b@1.2.3
npm i npm:react@17
pnpm --filter=@x/y... build
lerna run build --scope=@x/y
yarn workspace @x/y build:prod
date: 2020-01-01T00:00:00Z
image: postgres:16-alpine
see https://example.org/a/b:c@d
ab -n 100 -c 10 http://x/
dbt run --select tag:nightly+ --target prod
airflow dags trigger x --conf '{"a":"b"}'
sqlcmd -S h -E -Q "x" -i f.sql
sqlplus / as sysdba @x.sql
sqlplus -s "$U/$P@db" @x
sqlplus /@db @x.sql
bcp d.t out f -T -S h
net stop x
net use
sql/x.sql
run sql/load.sql
R -e 'x(a = 1)'
Rscript -e "a <- 'b'; x(token = Sys.getenv('T'))"
vault login -method=aws
mongodump --uri="$URI" --out /b
docker build -t x:latest --build-arg V=1 .
kubectl get secret x -o yaml
kubectl -n x exec pod-abc -- run
helm upgrade x y -f values.yaml
ansible-playbook x.yml --vault-password-file ~/.v
terraform apply -var-file=x.tfvars
su - postgres -c "pg_dump x"
exp_load.sh a/b
imp a/b
php artisan schedule:run
php bin/console app:x --env=prod
bundle exec rake db:migrate
/usr/bin/env bash -c 'PATH=/x:$PATH run'
java -Xmx2g -jar x.jar --spring.profiles.active=prod
export PATH=/usr/bin && run
set PWD=/x
PWD=/x run
OLDPWD=. run
cd "$PWD" && run
COMPASS=x run
BYPASS=1 run
PASSES=3 run
KEYMAP=x run
TOKENIZERS_PARALLELISM=false python x.py
MAX_TOKENS=100 run
AUTHOR=me run
sort --key=2,3n a
jq --key x
run --key=id
run --key customer_id2
run --primary-key id20240
run --sort-key=created20
run --key-file k.pem
run --private-key ~/.ssh/id
run --customer-key customer_key
run --app-key-id 12345x
run --token-limit 100
run --token-url https://x/y
CACHE_KEY=deps2024 run
KEY=id run
aws s3 cp a b --sse-c-key fileb://key.bin
aws s3 cp a b --sse aws:kms --sse-kms-key-id alias/x
aws s3api put-object --bucket b --key path/to/file1 --body f
aws s3api get-object --bucket b --key data2024.csv out.csv
git clone https://git@github.com/o/r.git
git clone https://myorg@dev.azure.com/myorg/p/_git/r
git clone https://x-access-token:${T}@github.com/o/r
wget https://$TOKEN@host/x
psql postgres://etl2@db/x
sftp://backup1@host/dir
read -r X <<< "$LINE"
read -r A B <<< "$(wc -l x)"
IFS=, read -r a b <<< a,b
while read -r x; do echo $x; done < f
read -rsp "Password: " PW
read -r PASSWORD < /run/secrets/pw
PORT=5432; psql -p $PORT
F=/run/x; run --password-file $F
PGPASSWORD=$DB_PASSWORD psql
run --password "${PW:-}"
: "${DB_PASSWORD:?must be set}"
: ${PW:?}
psql -c "ALTER USER x PASSWORD NULL"
psql -c "ALTER USER x PASSWORD '$PW'"
psql -c "ALTER USER x PASSWORD :'pw'"
psql -c "select password from users"
git config user.name me
npm config set registry https://x
rabbitmqctl list_users
""".strip().splitlines()


def test_secrets_are_found_by_their_program_and_their_place():
    """Attached, spaced, quoted, within quotes, in addresses, on standard input."""
    assert [each for each in SECRETS if secret_in(each) is None] == []


def test_a_value_that_a_text_gives_a_variable_is_judged_where_it_is_used():
    """A variable may be called anything; what it is used for tells what it holds."""
    assert secret_in("read -r X <<< hunter2x") is None
    assert secret_in("read -r TOKEN <<EOF\nhunter2x\nEOF\nrun")
    assert secret_in("read -r X <<EOF\nhunter2x\nEOF\nexport PGPASSWORD=$X")


def test_a_setting_of_a_crontab_is_a_secret_when_a_command_uses_it_as_one():
    """It is passed by its name; what is a port to its command stays a setting."""
    text = "P=hunter2x\nPORT=5432\n0 5 * * * mysql -p$P -P $PORT db\n0 6 * * * run $PORT\n"
    drafts = draft_crontab("crontab", text, "cron")

    assert [(each.secrets, each.env) for each in drafts.programs] == [
        (("P",), {"PORT": "5432"}),
    ] * 2
    assert HIDDEN not in write_toml(drafts)


def test_what_only_looks_like_one_is_kept():
    """Ports, folders, references, prompts: a draft of nothing helps nobody."""
    assert [(each, secret_in(each)) for each in PLAIN if secret_in(each)] == []


def test_no_source_repeats_them(tmp_path):
    """A crontab's commands, comments and lines that are none; a package's scripts; a comment."""
    lines = [f"# {each}\n0 5 * * * {each}\n{each}" for each in SECRETS]
    texts = [write_toml(draft_crontab("crontab", "\n".join([*lines, "1 1 * * * x"]), "cron"))]
    scripts = {f"s{number}": each for number, each in enumerate(SECRETS)}
    (tmp_path / "package.json").write_text(json.dumps({"scripts": scripts}))
    (tmp_path / "Makefile").write_text("".join(f"# {t}\n{n}:\n\t{t}\n" for n, t in scripts.items()))
    texts += [
        write_toml(draft_source(tmp_path / each, tmp_path)) for each in ("package.json", "Makefile")
    ]

    assert not any(HIDDEN in text for text in texts)
    assert "1 1 * * *" in texts[0]


def test_words_of_a_command_are_no_times():
    """A line that is no entry is not taken for one, and its words are no schedule."""
    text = "gpg --batch --pass x -c f\nrun a-b c,d e/f g h\n0 5 * jan-mar Mon-Fri run\n"
    (draft,) = draft_crontab("crontab", text, "cron").programs
    assert draft.command == ("run",)
