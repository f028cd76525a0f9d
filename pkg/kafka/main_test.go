package kafka_test

import (
	"testing"

	"github.com/prefsd/prefsd/pkg/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

func TestInProcessBroker(t *testing.T) {
	t.Parallel()
	kafkatest.Run(t, kafkatest.InProcess)
}

func TestApacheKafka(t *testing.T) {
	t.Parallel()
	kafkatest.Run(t, kafkatest.Real)
}
