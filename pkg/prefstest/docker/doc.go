// Package docker runs the suites of the store and of the broker again, on
// containers: on the oldest and the newest PostgreSQL that are supported, and
// on Apache Kafka as it is shipped. Its tests are built with the tag docker.
package docker
