package outbox

// WithManifest sets how many places of a backlog are listed at once.
func (c Config) WithManifest(places int) Config {
	c.manifest = places
	return c
}
