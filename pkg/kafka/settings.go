package kafka

import "github.com/prefsd/prefsd/pkg/config"

// FromConfig returns what the settings of a binary mean to a client, and which
// topics it publishes to or consumes; none means all of the cluster.
func FromConfig(c config.Kafka, clientID string, topics ...string) Config {
	cfg := Config{
		Brokers: c.Brokers, ClientID: clientID, MetadataTopics: topics,
		TLS: TLS{
			Enabled: bool(c.TLS.Enabled), CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName,
		},
	}
	if c.SASL.Enabled() {
		cfg.SASL = SASL{Mechanism: c.SASL.Mechanism, Username: c.SASL.Username, Password: c.SASL.Password.Reveal()}
	}
	return cfg
}
