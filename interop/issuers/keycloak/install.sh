#!/usr/bin/env bash
# Puts the Keycloak distribution into the directory $1, with Maven. Needs mvn and unzip; Keycloak itself, a JDK of version 17
# or newer. ../keycloak_test.go starts it. The first start of all builds the server, which takes minutes.
set -euo pipefail
. "$(dirname "$0")/../../../.ci/install.sh"
version=26.7.3
target=$1

if ! grep -qs "$version" "$target/version.txt"; then
	artifact="org.keycloak:keycloak-quarkus-dist:$version:zip"
	rm -rf "$target" "$target.new"
	mkdir -p "$target.new"
	quietly mvn -B dependency:get -Dtransitive=false -Dartifact="$artifact"
	quietly mvn -B dependency:copy -Dartifact="$artifact" -DoutputDirectory="$target.new"
	quietly unzip -q "$target.new/keycloak-quarkus-dist-$version.zip" -d "$target.new"
	mv "$target.new/keycloak-$version" "$target"
	rm -r "$target.new"
fi
