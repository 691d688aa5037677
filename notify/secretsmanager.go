package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"coffer"
	"coffer/internal/lazyregexp"
)

// inSecretsManager begins the members that name a secret of AWS Secrets Manager where others name a file. The secret holds what the file
// would: its text, or its bytes.
const inSecretsManager = "secretsmanager:"

const (
	secretFresh = 5 * time.Minute // for how long a secret is used before it is asked for again
	// secretStale is for how long the last one is used while Secrets Manager cannot be asked. That it does not give the secret out, or has
	// none, is an answer: from then on there is none here.
	secretStale = time.Hour
	secretPause = 30 * time.Second // between two questions, while the last one is used
)

var (
	secretName = lazyregexp.New(`^[A-Za-z0-9/_+=.@-]{1,512}$`)
	secretARN  = lazyregexp.New(`^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}$`)
)

// secretIDs returns the secrets that the target's members name, and the Region that their ARNs do.
func (t *Target) secretIDs() (ids []string, region string, err error) {
	for _, m := range [][2]string{{"urlFile", t.URLFile}, {"secretFile", t.SecretFile}, {"caFile", t.CAFile}} {
		id, ok := strings.CutPrefix(m[1], inSecretsManager)
		if !ok {
			continue
		}
		arn := secretARN().FindStringSubmatch(id)
		if arn == nil && !secretName().MatchString(id) {
			return nil, "", fmt.Errorf("%s: write %sNAME or %sARN of a secret: %w", m[0], inSecretsManager, inSecretsManager, coffer.ErrInvalid)
		}
		if arn != nil {
			if region != "" && region != arn[1] || t.Region != "" && t.Region != arn[1] {
				return nil, "", fmt.Errorf("%s: the secrets of a target are in one Region, and region: is that one: %w", m[0], coffer.ErrInvalid)
			}
			region = arn[1]
		}
		ids = append(ids, id)
	}
	return ids, region, nil
}

// awsSecrets are the secrets of one target in Secrets Manager. They are in memory and nowhere else, and none is in an error.
type awsSecrets struct {
	target Target
	open   func(context.Context, Target) (aws.Config, error)
	now    func() time.Time

	mu     sync.Mutex
	client *secretsmanager.Client // on first use
	kept   map[string]*keptSecret // by name or ARN
}

type keptSecret struct {
	value []byte
	at    time.Time // when it was asked for
	next  time.Time // not asked for again before, whatever its age
}

// read returns a secret of at most limit bytes, from memory while it is fresh.
func (s *awsSecrets) read(ctx context.Context, member, id string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	k := s.kept[id]
	// A clock that was put back makes a secret neither fresher nor older.
	younger := func(than time.Duration) bool { return k != nil && !now.Before(k.at) && now.Sub(k.at) < than }
	if younger(secretFresh) || younger(secretStale) && now.Before(k.next) {
		return k.value, nil
	}
	value, err := s.fetch(ctx, id)
	switch {
	case err == nil && int64(len(value)) <= limit:
		if s.kept == nil {
			s.kept = map[string]*keptSecret{}
		}
		s.kept[id] = &keptSecret{value: value, at: now}
		return value, nil
	case err == nil:
		delete(s.kept, id)
		return nil, fmt.Errorf("%s is larger than %d bytes: %w", member, limit, coffer.ErrUnavailable)
	case away(err) && younger(secretStale):
		k.next = now.Add(secretPause)
		return k.value, nil
	}
	delete(s.kept, id)
	return nil, outage(member+": GetSecretValue", err)
}

func (s *awsSecrets) fetch(ctx context.Context, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	if s.client == nil {
		c, err := s.open(ctx, s.target)
		if err != nil {
			return nil, err
		}
		s.client = secretsmanager.NewFromConfig(c, func(o *secretsmanager.Options) {
			if s.target.Endpoint != "" {
				o.BaseEndpoint = aws.String(s.target.Endpoint)
			}
		})
	}
	out, err := s.client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(id)})
	if err != nil {
		return nil, err
	}
	if out.SecretString != nil {
		return []byte(*out.SecretString), nil
	}
	return out.SecretBinary, nil
}

// away reports whether an error says nothing about the secret: no answer came, the service failed, or it was asked too often.
func away(err error) bool {
	var code interface{ ErrorCode() string }
	if !errors.As(err, &code) {
		return true
	}
	if _, throttled := retry.DefaultThrottleErrorCodes[code.ErrorCode()]; throttled {
		return true
	}
	var resp *awshttp.ResponseError
	return errors.As(err, &resp) && (resp.HTTPStatusCode() >= http.StatusInternalServerError || resp.HTTPStatusCode() == http.StatusTooManyRequests)
}
