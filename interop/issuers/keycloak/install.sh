#!/bin/sh
# Fetches the Keycloak distribution with Maven, and lays it out in the directory $1
# with the realm of this folder ready for
#
#   $1/bin/kc.sh start-dev --import-realm --http-host=127.0.0.1 --https-port=... \
#     --hostname=https://localhost:... --https-client-auth=request \
#     --https-certificate-file=... --https-certificate-key-file=...
#
# The first start builds the server, which takes minutes of its own; start it once
# before a test counts the time. Needs mvn, unzip and a JDK of version 17 or newer.
set -eu
version=26.7.3
here=$(cd "$(dirname "$0")" && pwd)
target=$1

if [ ! -x "$target/bin/kc.sh" ]; then
	mkdir -p "$target"
	mvn -B -q dependency:get -Dtransitive=false -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip"
	mvn -B -q dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" -DoutputDirectory="$target"
	unzip -q "$target/keycloak-quarkus-dist-$version.zip" -d "$target"
	mv "$target/keycloak-$version"/* "$target"
	rmdir "$target/keycloak-$version"
	rm "$target/keycloak-quarkus-dist-$version.zip"
fi
mkdir -p "$target/data/import"
cp "$here/realm.json" "$target/data/import/realm.json"
