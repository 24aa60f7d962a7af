"""Secrets in commands of services, clusters and clouds: each by its program, and what is none."""

from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import write_toml
from dama.drafts.secret import secret_in

HIDDEN = "hunter2x"
SECRETS = r"""
heroku config:set STRIPE=hunter2x --app x
heroku config:add STRIPE=hunter2x
fly secrets set STRIPE=hunter2x
flyctl secrets set A=hunter2x B=2
gh secret set X --body hunter2x
gh secret set X -b hunter2x
gh secret set X -b"hunter2x"
wrangler secret put X <<< hunter2x
echo hunter2x | wrangler secret put X
echo hunter2x | gh secret set X
echo "hunter2x" | gh auth login --with-token
gh auth login --with-token <<< hunter2x
vercel -t hunter2x deploy
vercel env add X production <<< hunter2x
netlify deploy --auth hunter2x
netlify deploy --auth=hunter2x
netlify env:set KEY hunter2x
eb setenv X=hunter2x
aws ssm put-parameter --name x --value hunter2x --type SecureString
aws configure set aws_session_token hunter2x
gcloud secrets versions add x --data-file=- <<< hunter2x
echo -n hunter2x | gcloud secrets versions add x --data-file=-
az keyvault secret set --vault-name v --name n --value hunter2x
az sql server update -n x -p hunter2x
consul kv put db/password hunter2x
vault write secret/x value=hunter2x
vault kv put secret/x a=hunter2x
etcdctl put /db/password hunter2x
redis-cli -h h AUTH hunter2x
oc login -u=me -p=hunter2x
skopeo copy --src-creds me:hunter2x docker://a docker://b
skopeo copy --dest-creds=me:hunter2x a b
buildah push --creds me:hunter2x a b
docker login -u me -phunter2x reg
curl -k -u 'me':'hunter2x' x
curl https://x/?X-Amz-Signature=hunter2x
curl "https://x/v1?appid=hunter2x"
automysqlbackup -p hunter2x
mysqlslap -uroot -phunter2x
mysql_upgrade -uroot -phunter2x
pt-archiver --source h=x,u=me,p=hunter2x,D=db
pt-table-checksum h=x,u=me,p=hunter2x
hadoop distcp -Dfs.azure.account.key.x.blob.core.windows.net=hunter2x== a b
neo4j-admin set-initial-password hunter2x
neo4j-admin dbms set-initial-password hunter2x
mongorestore -u me -phunter2x
mongodump -u me -p=hunter2x
gbak -user SYSDBA -pas hunter2x a b
db2 connect to x user me using hunter2x
sqlcl me/hunter2x@db @x
bteq <<< '.LOGON h/me,hunter2x'
vsql -U me -w hunter2x -c x
vsql -Ume -whunter2x
rclone config create x sftp host h user u pass hunter2x
mc alias set x https://h AKIA hunter2x
mc config host add x https://h key hunter2x
mcli alias set x https://h AKIA hunter2x
b2 authorize-account id hunter2x
b2 account authorize id hunter2x
swift -A https://x -U me -K hunter2x upload
sshfs -o password_stdin h:/ /m <<< hunter2x
ftp -n h <<< "user me hunter2x"
echo "user me hunter2x" | ftp -n h
printf 'user me hunter2x\nput x\n' | ftp -n h
rsync --password-file=<(echo hunter2x) a rsync://me@h/m
vncpasswd -f <<< hunter2x
smbget -U me%hunter2x smb://h/s
winexe -U me%hunter2x //h x
wmic -U me%hunter2x //h x
ldappasswd -s hunter2x -D x
ipmitool -I lanplus -H h -U me -P'hunter2x' sel list
snmpwalk -v3 -u me -A hunter2x -X hunter2x h
snmpget -v 3 -l authPriv -u me -a SHA -A "hunter2x" h oid
snmpwalk -v2c -c hunter2x h
sendemail -xu me -xp hunter2x -t x
sendEmail -f x -xu me -xp hunter2x
swaks -au me -ap hunter2x
msmtp --passwordeval 'echo hunter2x'
mailx -S smtp-auth-password=hunter2x x
mailx -S smtp-auth-user=x -S "smtp-auth-password=hunter2x" y
imapsync --user1 a --password1 hunter2x --user2 b --password2 hunter2x
imapsync --password1 "hunter2x"
openssl enc -d -K 6162636465666768 -iv 0 -in x
java -jar jenkins-cli.jar -auth me:hunter2x build x
java -jar jenkins-cli.jar -s http://h -auth "me:hunter2x" build x
sonar-scanner -Dsonar.login=hunter2x
snyk auth hunter2x
poetry config pypi-token.pypi hunter2x
poetry config http-basic.x me hunter2x
cargo login hunter2x
npm config set _auth hunter2x
yarn config set 'npmRegistries["x"].npmAuthToken' hunter2x
dotnet nuget push x -k hunter2x
dotnet user-secrets set "Db:Password" hunter2x
composer config http-basic.x me hunter2x
composer config --global github-oauth.github.com hunter2x
cvs -d :pserver:me:hunter2x@h:/cvs co x
ansible-vault encrypt_string hunter2x
ansible-vault encrypt_string 'hunter2x' --name x
knife ssh x -P hunter2x
fab -p hunter2x deploy
cfn x --parameters ParameterKey=DBPassword,ParameterValue=hunter2x
aws cloudformation create-stack --parameters ParameterKey=DbPassword,ParameterValue=hunter2x
cf auth me hunter2x
cf api x; cf auth me 'hunter2x'
apprise tgram://123456789:hunter2xhunter2xhunter2xhunter2xhun/1
pushover -t hunter2x -u x msg
gotify push -t hunter2x
wandb login hunter2x
dvc remote modify x password hunter2x
mega-login me@x hunter2x
dropbox_uploader -k hunter2x
nc x <<< "PASS hunter2x"
steamcmd +login me hunter2x +quit
net user me hunter2x
wpa_passphrase ssid hunter2x
nmcli dev wifi connect x password hunter2x
nmcli device wifi connect ssid password "hunter2x"
openvpn --auth-user-pass <(echo -e "me\nhunter2x")
echo hunter2x | openconnect --passwd-on-stdin h
mkpasswd hunter2x
mkpasswd -m sha-512 hunter2x
samba-tool user create me hunter2x
pass insert -e x <<< hunter2x
veracrypt -p hunter2x x
encfs --extpass='echo hunter2x' a b
gocryptfs -extpass 'echo hunter2x' a b
zip -e -Phunter2x a b
unzip -Phunter2x a
rar a -hphunter2x a b
rar a -hp'hunter2x' a b
pdftotext -upw hunter2x a
pdftotext -opw hunter2x a
pdftops -upw hunter2x a b
msoffcrypto-tool -p hunter2x a b
age -p <<< hunter2x
ccrypt -K hunter2x f
ccrypt -e -K hunter2x f
ccencrypt -K hunter2x f
aescrypt -e -p hunter2x f
mcrypt -k hunter2x f
""".strip().splitlines()
PLAIN = r"""
heroku config:get DATABASE_URL -a app
heroku config -a app
heroku config:set KEY=$KEY -a app
heroku run rake db:migrate -a app
heroku pg:backups:capture -a app
fly secrets list
fly deploy --config fly.toml
gh secret list
gh auth status
gh secret set X < /run/x
gh secret set X --body "$X"
vault kv get secret/x
vault kv get -field=password secret/x
vault read secret/x
az login --identity
az vm list -o table
az storage blob upload --auth-mode login -f x
oc login --token="$TOKEN"
docker login -u "$U" -p "$P" reg
docker build -p x --build-arg V=1 .
curl -s "https://api.openweathermap.org/data?appid=$KEY"
curl -s "https://x/v1?appid=${KEY}&units=metric"
mc cp a local/b
mc mirror --overwrite /a remote/b
rclone sync /a remote:b
rclone config show
snmpwalk -v2c -c public h
snmpget -v 2c -c public h oid
net user
net user me /delete
pdftotext -layout a.pdf b.txt
redis-cli -h h info
redis-cli -h h auth "$PW"
ansible-vault view x
dotnet run --project x -c Release
dotnet test -k x
eb deploy
eb setenv X=$X
cf push app
cf auth "$U" "$P"
cargo login
wandb login
wandb sync dir
twine upload dist/*
fab -f x deploy
veracrypt -t -d x
unzip -o a.zip -d b
unzip -p a.zip f > x
rar a -hp a b
rar a -m5 a b
unrar x a.rar
poetry config virtualenvs.create false
npm config set strict-ssl false
npm config get registry
git config --global user.email me@h.com
git config --global credential.helper store
git config core.autocrlf input
composer config --global process-timeout 2000
composer config repositories.x vcs https://x/y
yarn config set registry https://x
dvc remote add -d x s3://b
dvc remote modify x region eu-west-1
etcdctl get /db/x
consul kv get db/x
kubectl config set-context x --namespace=y
kubectl config use-context x
airflow variables get x
nmcli device status
mkpasswd
steamcmd +login anonymous +app_update 1 +quit
net start x
nodetool -h x flush
nodetool repair -pr ks
swift list
ipmitool sensor list
ipmitool -P
imapsync --host1 a --user1 b --passfile1 /x
sendemail -f a@x -t b@y -s h:25
swaks --to a@x --server h
wmic cpu get name
smbget -R smb://h/s
mongodump --port 27017 --out /b
mongodump -h h:27017 -d db -o /b
mongo db --port 27017 --eval 'x'
mysqldump -h 127.0.0.1 -P 3306 db
mysql -h h -u me -p db
mysql_upgrade -u root
cqlsh h -f x.cql
cqlsh -u cassandra h
beeline -u jdbc:hive2://h:10000 -f x.hql
psql -h h -p 5433 -U me -f x.sql
pg_dump -p 5433 db
ssh -p 2222 h
rsync -p -a x y
cp -rp a b
user me 12
ftp -n h < /x/cmds
ftp ftp.example.org
useradd -m -s /bin/sh x
usermod -aG docker x
openssl dgst -sha256 -sign k.pem f
openssl req -new -key k.pem
mcrypt x
borg create --stats ::x /x
restic backup /x --password-file /y
pass show x
PASS=$(pass show x) run
tput setaf 1
echo x | pass-through
echo "a" | page
echo $X | age -r age1 > y
age -d -i key x
echo y | sudo apt upgrade
echo "test" | mail -s pass x@y
npm run login -p x
make login
ssh -o BatchMode=yes h login
docker run --rm -v x:y -p 80:80 login
login -p
find -user root
chown -R www:www x
chown me:me x
install -o root -g root x
sudo -u www-data:www-data x
tar --owner=0:0 -c x
rsync --chown=www:www a b
chpst -u www:www run
start-stop-daemon -c www:www run
uwsgi --uid www --gid www
setuidgid x run
docker-compose run --user 1000:1000 web
docker run --user node:node x
docker run -u nobody:nogroup x
crane export x - | tar
skopeo copy docker://a:1 docker://b:2
skopeo copy --src-creds "$U:$P" docker://a:1 docker://b:2
db2 connect to x
h=1,u=2,p=
awk -F, '{h=$1,p=$2}' x
convert -size 10x10 xc:red x.png
gnuplot -e "a=1,p=2" x
bash -c 'PASS=1; run'
make PASS=1
echo PASS ok
printf "PASS %s\n" x
grep -q "PASS" x
pytest -k "pass" -q
tox -e pass
run --bypass
sort -k 2 -u x
curl -u : --negotiate x
curl -u user: x
curl --user $U:$P x
wget --user=$U --password=$P x
http GET x a:b
http -a "$U:$P" x
xh :8080/x a=b
xh get x Accept:json
aws s3 sync s3://a s3://b --profile x
aws ssm get-parameter --name x --with-decryption
aws secretsmanager get-secret-value --secret-id x
aws cloudformation deploy --parameter-overrides Env=prod
aws cloudformation create-stack --parameters ParameterKey=Env,ParameterValue=prod
gcloud secrets versions access latest --secret=x
gcloud auth activate-service-account --key-file=/x.json
gsutil -m rsync -r a b
spark-submit --conf spark.executor.memory=4g x.py
terraform apply -var="env=prod"
pulumi config set aws:region eu
helm upgrade x y --set image.tag=1.2.3
kubectl create secret generic x --from-file=a
kubectl create secret tls x --cert=a --key=b
docker run -e TZ=UTC -e PUID=1000 x
systemctl restart user@1000
loginctl enable-linger me
mysqlcheck -o --all-databases
login: me
user guide at x
auth me later
node-sass --output-style compressed
cross-env-shell "x $PWD"
lint-pass=true
sonar-scanner -Dsonar.login=$T
keytool -list -keystore x -storepass "$P"
run --no-password
run --password-stdin < f
run --auth-type=basic
run --auth basic
run --login x
run -auth none
run --user-agent=a:b
run --user-agent "curl/8:x"
run --creds /x.json
run --login-path=x
mysql --login-path=x db
mysql --login-path x -e "y"
""".strip().splitlines()


def test_each_program_has_its_place_for_a_secret():
    """As an option, a pair, a word of a sub-command, on standard input, in a substitution."""
    assert [each for each in SECRETS if secret_in(each) is None] == []


def test_the_same_programs_without_a_secret_are_drafted():
    """References, prompts, files and names are repeated."""
    assert [(each, secret_in(each)) for each in PLAIN if secret_in(each)] == []


def test_no_draft_repeats_one():
    """Neither as a command nor as the comment above one."""
    lines = [f"# {each}\n0 5 * * * {each}" for each in SECRETS]

    assert HIDDEN not in write_toml(
        draft_crontab("crontab", "\n".join([*lines, "1 1 * * * x"]), "c")
    )
