package ctl

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prefsd/prefsd/pkg/directory"
	"github.com/prefsd/prefsd/pkg/kafka"
)

// topics says whether the brokers answer.
func (c *checkup) topics(ctx context.Context, client *kafka.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	names, err := c.consumed()
	if err != nil {
		c.say("brokers", failure, err.Error(), "see PREFS_DOMAINS_FILE")
		return false
	}
	read := len(names)
	names = append(names, c.Topics.Own()...)
	specs := make([]kafka.TopicSpec, len(names))
	for i, name := range names {
		specs[i] = kafka.TopicSpec{Name: name, Config: map[string]string{"cleanup.policy": "", "retention.ms": ""}}
	}
	reports, err := client.CheckTopics(ctx, specs)
	if err != nil {
		c.say("brokers", failure, err.Error(), "see that they run and that PREFS_KAFKA_BROKERS, PREFS_KAFKA_TLS_* and PREFS_KAFKA_SASL_* are right")
		return false
	}
	c.say("brokers", well, strings.Join(c.Brokers, ", ")+" answer", "")
	for i, r := range reports {
		c.topic(r, i >= read)
	}
	return true
}

// topic looks at one topic. What we publish must not be thrown away before its
// row is, and never be compacted: every event counts, not just the last of a key.
func (c *checkup) topic(r kafka.TopicReport, ours bool) {
	kept, whole := retention(r.Settings["retention.ms"])
	says := fmt.Sprintf("%d partitions, %d copies, kept for %s", r.Partitions, r.ReplicationFactor, kept)
	if r.Missing {
		says = "does not exist"
	}
	c.judge("topic "+r.Name, says,
		complaint{r.Missing, failure, "", "prefsctl topics create"},
		complaint{strings.Contains(r.Settings["cleanup.policy"], "compact"), failure, ", compacted", "set cleanup.policy=delete: compaction loses events"},
		complaint{ours && whole < c.Retention, worry, "", "raise retention.ms above PREFS_OUTBOX_RETENTION (" + c.Retention.String() + ")"},
		complaint{r.ReplicationFactor == 1, worry, "", "one broker's disk is all there is: fine for development, not for what must not be lost"})
}

// retention reads a setting of a topic.
func retention(ms string) (text string, kept time.Duration) {
	n, err := strconv.ParseInt(ms, 10, 64)
	const forever = time.Duration(1<<63 - 1)
	switch {
	case err != nil:
		return "as long as the broker likes", forever
	case n < 0 || n > int64(forever/time.Millisecond):
		return "ever", forever
	default:
		kept = time.Duration(n) * time.Millisecond
		return kept.String(), kept
	}
}

// group looks at the consumers as the brokers see them.
func (c *checkup) group(ctx context.Context, client *kafka.Client) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	members, state, err := client.Members(ctx, c.Group)
	if err != nil {
		c.say("consumers", failure, err.Error(), "")
		return
	}
	c.judge("consumers", fmt.Sprintf("group %s has %d members, %s", c.Group, members, state),
		complaint{members == 0, failure, "", "start a consumer, or name its group in PREFS_KAFKA_GROUP"},
		complaint{!strings.EqualFold(state, "stable"), worry, "", "ask again: a group that does not settle has members that come and go"})
	const late = 30 * time.Second
	behind, err := c.behind(ctx, client, c.now().Add(-late))
	if err != nil {
		c.say("consumption", failure, err.Error(), "")
		return
	}
	says, waiting := []string{}, int64(0)
	for _, b := range behind {
		waiting += b.Records
		says = append(says, fmt.Sprintf("%s/%d by %d", b.Topic, b.Partition, b.Records))
	}
	c.judge("consumption", fmt.Sprintf("%d records have waited for more than %s", waiting, late),
		complaint{waiting > 0, worry, ": " + some(says), "see the consumers' log; a poisoned record or a lost database holds its partition back"})
}

// letters counts those that somebody has to decide on.
func (c *checkup) letters(ctx context.Context, db *sql.DB, client *kafka.Client, healthy bool) {
	if !healthy {
		return
	}
	d := dlq{Topics: c.Topics}
	open := 0
	_, err := d.letters(ctx, db, client, func(*deadLetter) bool { return true }, func(letters []deadLetter) error {
		for i := range letters {
			if letters[i].open() {
				open++
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, kafka.ErrNoTopic):
	case err != nil:
		c.say("dead letters", failure, err.Error(), "")
	default:
		c.judge("dead letters", fmt.Sprintf("%d are open", open),
			complaint{open > 0, worry, "", "prefsctl dlq ls, then redrive or discard"})
	}
}

// strangers are the services of others.
func (c *checkup) strangers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if c.DirectoryURL == "" {
		c.say("directory", skipped, "none is configured", "reconciliation needs one: PREFS_DIRECTORY_URL")
	} else if err := c.directory(ctx); err != nil {
		c.say("directory", failure, err.Error(), "see PREFS_DIRECTORY_URL and PREFS_DIRECTORY_TOKEN; until then nothing is reconciled")
	} else {
		c.say("directory", well, "it says which accounts exist", "")
	}
	if c.JWKSURL == "" {
		c.say("keys", skipped, "no address of keys is given", "PREFS_AUTH_JWKS_URL, as the api has it")
		return
	}
	n, err := keys(ctx, c.JWKSURL)
	switch {
	case err != nil:
		c.say("keys", failure, err.Error(), "see PREFS_AUTH_JWKS_URL: without keys an api that starts trusts nobody")
	default:
		c.judge("keys", fmt.Sprintf("%d published", n), complaint{n == 0, failure, "", "the issuer must publish the keys that it signs with"})
	}
}

// directory asks about an account that nobody has.
func (c *checkup) directory(ctx context.Context) error {
	client, err := directory.New(directory.Config{URL: c.DirectoryURL, Token: c.DirectoryToken.Reveal()})
	if err != nil {
		return err
	}
	defer client.Close()
	const nobody = "prefsctl-doctor"
	missing, err := client.Missing(ctx, []string{nobody})
	if err == nil && !slices.Contains(missing, nobody) {
		err = errors.New("it says that an account exists which cannot: prefsctl-doctor")
	}
	return err
}

// keys counts what an issuer publishes.
func keys(ctx context.Context, url string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, fmt.Errorf("ask for keys: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("ask for keys: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("ask for keys: %s", response.Status)
	}
	const most = 1 << 20
	var set struct{ Keys []json.RawMessage }
	if err := json.NewDecoder(io.LimitReader(response.Body, most)).Decode(&set); err != nil {
		return 0, fmt.Errorf("read keys: %w", err)
	}
	return len(set.Keys), nil
}
