#!/bin/sh
# Usage: fetch.sh DIR
#
# Fills DIR with what pkg/kafkatest needs to start Apache Kafka without Docker:
#   *.jar                 the broker and its dependencies, from Maven Central
#   log4j2.xml            warnings to standard output
#   bootstrap.checkpoint  the feature levels that a formatted log directory starts with
#   kafka.jsa             a class data archive, which halves the start-up time
#   .done                 the pom.xml that DIR was made from; written last
#
# Running it again does nothing until pom.xml changes. Needs mvn and Java 17 or
# newer. MVN_ARGS is passed on to mvn (for example -o, or -s settings.xml).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:?usage: fetch.sh DIR}"
out=$(cd "$1" && pwd)

fresh() { [ -f "$out/.done" ] && cmp -s "$here/pom.xml" "$out/.done"; }
fresh && exit 0

# Two callers may start at the same time: the second one waits, then finds the work done.
exec 9>"$out/.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
fresh && exit 0

rm -f "$out"/*.jar "$out"/*.jsa "$out"/*.checkpoint "$out"/log4j2.xml "$out/.done"
# shellcheck disable=SC2086 # MVN_ARGS is a list of words
mvn -B -q -ntp ${MVN_ARGS:-} -f "$here/pom.xml" \
  org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory="$out" >&2
cp "$here/log4j2.xml" "$out/log4j2.xml"

tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$tmp"' EXIT INT TERM

# Port 0 lets the kernel choose; nobody connects to this broker.
cat >"$tmp/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${TESTKAFKA_PORT:-29093}
listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:${TESTKAFKA_PORT:-29093}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$tmp/data
P

# The archive is only used with the very class path it was written with, hence the fixed order.
classpath=$(find "$out" -name '*.jar' | LC_ALL=C sort | paste -sd: -)
jvm="-Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dlog4j2.configurationFile=$out/log4j2.xml"

# shellcheck disable=SC2086 # jvm is a list of words
java $jvm -cp "$classpath" kafka.tools.StorageTool format \
  -t MkU3OEVBNTcwNTJENDM2Qg -c "$tmp/server.properties" >/dev/null
cp "$tmp"/data/__cluster_metadata-0/*.checkpoint "$out/bootstrap.checkpoint"
chmod 644 "$out/bootstrap.checkpoint"

# shellcheck disable=SC2086
java $jvm -XX:ArchiveClassesAtExit="$out/kafka.jsa" -cp "$classpath" \
  kafka.Kafka "$tmp/server.properties" >"$tmp/log" 2>&1 &
pid=$!
tries=0
until grep -q 'Kafka Server started' "$tmp/log"; do
  tries=$((tries + 1))
  if [ "$tries" -gt 600 ] || ! kill -0 "$pid" 2>/dev/null; then
    cat "$tmp/log" >&2
    exit 1
  fi
  sleep 0.1
done
kill "$pid"
wait "$pid" || true # after SIGTERM the JVM writes the archive and exits with 143
pid=
chmod 644 "$out/kafka.jsa"
cp "$here/pom.xml" "$out/.done"
