package preferences

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Limits of lists and of what requests may say about them.
const (
	MaxItems               = 1000     // items of a list
	MaxEntityID            = 128      // characters of [A-Za-z0-9._:-]
	MaxUserID              = 255      // bytes
	MaxDomain              = 63       // characters of its name
	MaxAttributesBytes     = 16 << 10 // of one item, as jsonb spells them
	MaxAttributesDepth     = 16       // levels of objects and arrays, the outermost included
	MaxAttributesKeys      = 256      // names in one item, all levels together
	MaxAttributesKeyLength = 128      // characters
	MaxListAttributesBytes = 1 << 20  // of all items of a list together
)

// checkEntityID returns what is wrong with an entity id, or nothing.
func checkEntityID(id string) string {
	if id != "" && len(id) <= MaxEntityID && strings.Trim(id, entityIDBytes) == "" {
		return ""
	}
	return "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"
}

const entityIDBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"

// IsUserID says whether a user can have that id: the subject of a token, 1 to
// MaxUserID bytes of UTF-8 without control characters.
func IsUserID(id string) bool {
	return id != "" && len(id) <= MaxUserID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// checkUserID returns what is wrong with a user's id, or nothing.
func checkUserID(id string) string {
	if IsUserID(id) {
		return ""
	}
	return fmt.Sprintf("must be 1 to %d bytes of UTF-8 without control characters", MaxUserID)
}

// checkAttributes returns an item's attributes as the database spells them, or
// what is wrong with them. The decoder has seen to it that they are I-JSON.
func checkAttributes(b json.RawMessage) (json.RawMessage, string) {
	if len(b) == 0 || b[0] != '{' {
		return nil, "must be an object"
	}
	if len(b) > MaxAttributesBytes && leastSpelled(b) > MaxAttributesBytes {
		return nil, tooLarge() // decoded it would take many times the memory
	}
	if out, ok := spelledFlat(b); ok {
		return out, ""
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		return nil, "must be an object"
	}
	keys := 0
	if why := checkValue(v, 1, &keys); why != "" {
		return nil, why
	}
	out := spelledValue(v, len(b))
	if len(out) > MaxAttributesBytes {
		return nil, tooLarge()
	}
	return out, ""
}

func tooLarge() string {
	return fmt.Sprintf("must not be larger than %d bytes as the database spells them: a space after each colon and comma, numbers written out", MaxAttributesBytes)
}

func checkValue(v any, depth int, keys *int) string {
	object, isObject := v.(map[string]any)
	array, isArray := v.([]any)
	if !isObject && !isArray {
		return ""
	}
	if depth > MaxAttributesDepth {
		return fmt.Sprintf("must not be nested deeper than %d levels", MaxAttributesDepth)
	}
	if *keys += len(object); *keys > MaxAttributesKeys {
		return fmt.Sprintf("must not hold more than %d names", MaxAttributesKeys)
	}
	for name, child := range object {
		if utf8.RuneCountInString(name) > MaxAttributesKeyLength {
			return fmt.Sprintf("must not hold a name longer than %d characters", MaxAttributesKeyLength)
		}
		if why := checkValue(child, depth+1, keys); why != "" {
			return why
		}
	}
	for _, child := range array {
		if why := checkValue(child, depth+1, keys); why != "" {
			return why
		}
	}
	return ""
}

// checkSize refuses a list that is larger than a list may be.
func checkSize(l List) error {
	if l.Total() > MaxItems {
		return fault.New(fault.Invalid, fault.ReasonTooManyItems, "A list holds at most %d items.", MaxItems)
	}
	total := l.Rest.Bytes
	for _, it := range l.Items {
		total += len(it.Attributes)
	}
	if total > MaxListAttributesBytes {
		return fault.New(fault.Invalid, fault.ReasonInvalidField,
			"The attributes of a list hold at most %d bytes together.", MaxListAttributesBytes).
			Violating(fault.Violation{Field: "attributes", Description: "make the list's attributes smaller"})
	}
	return nil
}
