package prefstest

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/prefsd/prefsd/pkg/auth"
	"github.com/prefsd/prefsd/pkg/events"
	"github.com/prefsd/prefsd/pkg/kafka"
	"github.com/prefsd/prefsd/pkg/kafkatest"
	"github.com/prefsd/prefsd/pkg/pgtest"
	"github.com/prefsd/prefsd/pkg/postgres"
	"github.com/prefsd/prefsd/pkg/preferences"
	"github.com/prefsd/prefsd/pkg/verify"
)

// Topics of a stage.
const (
	AccountEvents = "account.events"
	UserEvents    = "user.events"
	Updates       = "preferences.events"
	Cleaned       = "preferences.cleaned"
	DeadLetters   = "preferences.dead-letters"
)

// Stage is a database, a broker and a key, on which binaries run.
type Stage struct {
	DatabaseURL string
	Broker      kafkatest.Broker
	Store       *postgres.Store    // to prepare lists, and to look at what the binaries did
	Env         []string           // more variables for what is started
	Lost        map[uuid.UUID]bool // events that Settle does not ask for: a failover has lost their rows
	Build       Build              // how it is built
	Lenient     time.Duration      // how far off a clock may be that judges tokens of the stage
	prefs       *preferences.Service
	admin       *sql.DB
	key         *auth.DevKey
	keyFile     string
}

// NewStage prepares a stage for one test.
func NewStage(tb testing.TB, broker kafkatest.Broker) *Stage {
	tb.Helper()
	return NewStageAt(tb, pgtest.New(tb), broker)
}

// NewStageAt prepares a stage on a database that is migrated.
func NewStageAt(tb testing.TB, databaseURL string, broker kafkatest.Broker) *Stage {
	tb.Helper()
	s := &Stage{DatabaseURL: databaseURL, Broker: broker, keyFile: filepath.Join(tb.TempDir(), "key.pem")}
	var err error
	s.key, err = auth.NewDevKey()
	require.NoError(tb, err)
	require.NoError(tb, s.key.Save(s.keyFile))
	s.Store, err = postgres.Open(postgres.Config{URL: s.DatabaseURL, MaxConns: 8, Announcer: announcer})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Store.Close()) })
	s.prefs = preferences.New(preferences.Options{Store: s.Store, Announcer: announcer})
	s.admin, err = postgres.Plain(databaseURL)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.admin.Close()) })
	client, err := kafka.Open(kafka.Config{Brokers: broker.Addrs()})
	require.NoError(tb, err)
	var specs []kafka.TopicSpec
	for _, topic := range []string{AccountEvents, UserEvents, Updates, Cleaned, DeadLetters} {
		specs = append(specs, kafka.TopicSpec{Name: topic, Partitions: 4})
	}
	_, err = client.EnsureTopics(tb.Context(), specs)
	require.NoError(tb, errors.Join(err, client.Close()))
	return s
}

var announcer = preferences.Announcer{EventsTopic: Updates, CleanedTopic: Cleaned, Source: events.Source("main")}

// Save makes lists of these accounts, one for each user, as if they were saved
// by the api.
func (s *Stage) Save(tb testing.TB, users []string, accounts ...string) {
	tb.Helper()
	const atOnce = 6
	in := make([]preferences.Input, len(accounts))
	for i, a := range accounts {
		in[i] = preferences.Input{EntityID: a}
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, user := range users {
		g.Go(func() error {
			_, err := s.prefs.Replace(tb.Context(), user, "accounts", preferences.By{Actor: user}, preferences.Terms{}, in)
			return err
		})
	}
	require.NoError(tb, g.Wait())
}

// Entities are what a user's list holds, in order.
func (s *Stage) Entities(tb testing.TB, user string) []string {
	tb.Helper()
	l, err := s.Store.List(tb.Context(), preferences.Key{UserID: user, Domain: "accounts"})
	require.NoError(tb, err)
	out := make([]string, len(l.Items))
	for i, it := range l.Items {
		out[i] = it.EntityID
	}
	return out
}

// Token is that of a user, or of whoever holds the scopes.
func (s *Stage) Token(tb testing.TB, subject string, scopes ...string) string {
	tb.Helper()
	token, err := s.key.Sign(auth.Grant{
		Subject: subject, Scopes: scopes, Issued: time.Now().Add(-s.Lenient), Lifetime: 2*s.Lenient + auth.DevLifetime,
	})
	require.NoError(tb, err)
	return token
}

// KeySet is what the issuer of the stage's tokens publishes.
func (s *Stage) KeySet(tb testing.TB) []byte {
	tb.Helper()
	set, err := s.key.JWKS()
	require.NoError(tb, err)
	return set
}

// Service is a running api or consumer.
type Service struct {
	*Process
	URL, AdminURL string
}

// API starts an api and waits until it is ready. Addresses of an earlier one
// are taken again, as after a restart.
func (s *Stage) API(tb testing.TB, before *Service) *Service {
	tb.Helper()
	return s.start(tb, "api", before)
}

// Consumer starts a consumer and waits until it is ready.
func (s *Stage) Consumer(tb testing.TB, before *Service) *Service {
	tb.Helper()
	return s.start(tb, "consumer", before)
}

// Launch starts a binary and does not wait until it is ready.
func (s *Stage) Launch(tb testing.TB, name string) *Service {
	tb.Helper()
	return s.launch(tb, s.Build.binary(tb, name), nil)
}

// env is what every binary of the stage is told.
func (s *Stage) env() []string {
	return append([]string{
		"PREFS_DATABASE_URL=" + s.DatabaseURL, "PREFS_KAFKA_BROKERS=" + strings.Join(s.Broker.Addrs(), ","), "PREFS_LOG_LEVEL=info",
		"PREFS_AUTH_DEV_KEY_FILE=" + s.keyFile, "PREFS_AUTH_ISSUER=" + auth.DevIssuer, "PREFS_AUTH_AUDIENCE=" + auth.DevAudience,
	}, s.Env...)
}

func (s *Stage) start(tb testing.TB, name string, before *Service) *Service {
	tb.Helper()
	out := s.launch(tb, s.Build.binary(tb, name), before)
	out.AwaitReady(tb, out.AdminURL+"/readyz")
	return out
}

// launch starts a binary and does not wait for it.
func (s *Stage) launch(tb testing.TB, file string, before *Service, env ...string) *Service {
	tb.Helper()
	out := before
	if out == nil {
		out = &Service{URL: "http://" + freeAddr(tb), AdminURL: "http://" + freeAddr(tb)}
	}
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
	out = &Service{URL: out.URL, AdminURL: out.AdminURL}
	out.Process = StartFile(tb, file, slices.Concat(s.env(), env, []string{"PREFS_HTTP_ADDR=" + host(out.URL), "PREFS_ADMIN_ADDR=" + host(out.AdminURL)}))
	return out
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	require.NoError(tb, l.Close())
	return l.Addr().String()
}

// Produce sends records to a topic, as their owner would.
func (s *Stage) Produce(tb testing.TB, records ...*kgo.Record) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.Addrs()...), kgo.ProducerBatchMaxBytes(largestRecord))
	require.NoError(tb, err)
	defer client.Close()
	require.NoError(tb, client.ProduceSync(tb.Context(), records...).FirstErr())
}

// largestRecord is what Produce sends at most.
const largestRecord = 32 << 20

// AllowLargeRecords makes a topic take records up to a size, as its owner may
// have configured it.
func (s *Stage) AllowLargeRecords(tb testing.TB, topic string, size int) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.Addrs()...))
	require.NoError(tb, err)
	defer client.Close()
	ask := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	setting := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	setting.Name, setting.Value = "max.message.bytes", kmsg.StringPtr(strconv.Itoa(size))
	resource.Configs = append(resource.Configs, setting)
	ask.Resources = append(ask.Resources, resource)
	answer, err := ask.RequestWith(tb.Context(), client)
	require.NoError(tb, err)
	require.Zero(tb, answer.Resources[0].ErrorCode)
}

// Deleted is the event of an account's deletion.
func Deleted(eventID, account string, at time.Time) *kgo.Record {
	return told("account.deleted", eventID, account, `","accountName":"An account","deletedBy":"admin"}}`, at)
}

// Restored is the event that a deleted account is back.
func Restored(eventID, account string, at time.Time) *kgo.Record {
	return told("account.restored", eventID, account, `"}}`, at)
}

func told(eventType, eventID, account, rest string, at time.Time) *kgo.Record {
	value := `{"eventType":"` + eventType + `","eventId":"` + eventID + `","timestamp":"` + at.UTC().Format(time.RFC3339Nano) +
		`","data":{"accountId":"` + account + rest
	return &kgo.Record{Topic: AccountEvents, Key: []byte(account), Value: []byte(value)}
}

// UserDeleted is the event of a user's deletion.
func UserDeleted(eventID, user string, at time.Time) *kgo.Record {
	value := `{"eventType":"user.deleted","eventId":"` + eventID + `","timestamp":"` + at.UTC().Format(time.RFC3339Nano) +
		`","data":{"userId":"` + user + `"}}`
	return &kgo.Record{Topic: UserEvents, Key: []byte(user), Value: []byte(value)}
}

// Topic reads everything that a topic holds by now, each partition in order.
func (s *Stage) Topic(tb testing.TB, topic string) []*kgo.Record {
	tb.Helper()
	return ReadTopic(tb, s.Broker.Addrs(), topic)
}

// delivered is what a consumer of our topics sees.
func (s *Stage) delivered(tb testing.TB) verify.Records {
	tb.Helper()
	var out verify.Records
	for _, topic := range []string{Updates, Cleaned} {
		for _, r := range s.Topic(tb, topic) {
			d := verify.Delivered{Topic: topic, Partition: int(r.Partition), Offset: r.Offset, Key: string(r.Key), Value: r.Value, Time: r.Timestamp}
			for _, h := range r.Headers {
				if h.Key == "ce_id" {
					id, err := uuid.Parse(string(h.Value))
					require.NoError(tb, err)
					d.EventID = id
				}
			}
			if !s.Lost[d.EventID] {
				out = append(out, d)
			}
		}
	}
	return out
}

// Rest waits until all events have arrived and no work is left.
func (s *Stage) Rest(tb testing.TB) {
	tb.Helper()
	var findings []verify.Finding
	defer func() {
		for _, f := range findings {
			tb.Error(f)
		}
	}()
	Eventually(tb, Patience, "all events arrive and no work is left", func() bool {
		if s.behind(tb) {
			return false
		}
		findings = s.report(tb, func(ctx context.Context, src verify.Source) (verify.Report, error) {
			return verify.Quiet(ctx, src, 0)
		}).Findings
		seen := s.delivered(tb)
		findings = append(findings, s.report(tb, func(ctx context.Context, src verify.Source) (verify.Report, error) {
			return verify.Delivery(ctx, src, seen, verify.AtOnce)
		}).Findings...)
		return len(findings) == 0 || tb.Failed()
	})
}

// Settle waits until all is quiet and checks every promise that a database and
// the topics show. It returns what it saw, so that the story can tell that it
// saw enough.
func (s *Stage) Settle(tb testing.TB) verify.Report {
	tb.Helper()
	s.Rest(tb)
	report := s.Look(tb)
	for _, f := range append(report.Findings, s.report(tb, verify.Contract).Findings...) {
		tb.Error(f)
	}
	return report
}

// Look checks what the database alone shows, as it is now.
func (s *Stage) Look(tb testing.TB) verify.Report {
	tb.Helper()
	return s.report(tb, verify.Database)
}

func (s *Stage) report(tb testing.TB, fn func(context.Context, verify.Source) (verify.Report, error)) (report verify.Report) {
	tb.Helper()
	ctx := context.Background() // also at the end of a test
	require.NoError(tb, s.Store.Snapshot(ctx, func(src verify.Source) (err error) {
		report, err = fn(ctx, src)
		return err
	}))
	return report
}
