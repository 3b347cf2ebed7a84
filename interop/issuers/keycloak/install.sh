#!/bin/sh
# Puts the Keycloak distribution into the directory $1, with Maven. Needs mvn and unzip; Keycloak itself, a JDK of version 17
# or newer. ../keycloak_test.go starts it. The first start of all builds the server, which takes minutes.
set -eu
version=26.7.3
target=$1

if ! grep -qs "$version" "$target/version.txt"; then
	artifact="org.keycloak:keycloak-quarkus-dist:$version:zip"
	rm -rf "$target" "$target.new"
	mkdir -p "$target.new"
	mvn -B -q dependency:get -Dtransitive=false -Dartifact="$artifact"
	mvn -B -q dependency:copy -Dartifact="$artifact" -DoutputDirectory="$target.new"
	unzip -q "$target.new/keycloak-quarkus-dist-$version.zip" -d "$target.new"
	mv "$target.new/keycloak-$version" "$target"
	rm -r "$target.new"
fi
