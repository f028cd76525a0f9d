package preferences

import (
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/prefsd/prefsd/pkg/fault"
)

// Limits of lists and of what requests may say about them.
const (
	MaxItems               = 1000     // items of a list
	MaxEntityID            = 128      // characters of [A-Za-z0-9._:-]
	MaxUserID              = 255      // bytes
	MaxAttributesBytes     = 16 << 10 // of one item, as jsonb spells them
	MaxAttributesDepth     = 16       // levels of objects and arrays, the outermost included
	MaxAttributesKeys      = 256      // names in one item, all levels together
	MaxAttributesKeyLength = 128      // characters
	MaxListAttributesBytes = 1 << 20  // of all items of a list together
)

var entityID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// checkEntityID returns what is wrong with an entity id, or nothing.
func checkEntityID(id string) string {
	if entityID.MatchString(id) {
		return ""
	}
	return "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"
}

// checkAttributes returns what is wrong with an item's attributes, or nothing.
// The decoder has seen to it that they are I-JSON.
func checkAttributes(b json.RawMessage) string {
	if len(b) == 0 || b[0] != '{' {
		return "must be an object"
	}
	if len(b) > MaxAttributesBytes {
		return fmt.Sprintf("must not be larger than %d bytes", MaxAttributesBytes)
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		return "must be an object"
	}
	keys := 0
	return checkValue(v, 1, &keys)
}

func checkValue(v any, depth int, keys *int) string {
	var children []any
	switch v := v.(type) {
	case map[string]any:
		if *keys += len(v); *keys > MaxAttributesKeys {
			return fmt.Sprintf("must not hold more than %d names", MaxAttributesKeys)
		}
		for k, child := range v {
			if utf8.RuneCountInString(k) > MaxAttributesKeyLength {
				return fmt.Sprintf("must not hold a name longer than %d characters", MaxAttributesKeyLength)
			}
			children = append(children, child)
		}
	case []any:
		children = v
	default:
		return ""
	}
	if depth > MaxAttributesDepth {
		return fmt.Sprintf("must not be nested deeper than %d levels", MaxAttributesDepth)
	}
	for _, child := range children {
		if why := checkValue(child, depth+1, keys); why != "" {
			return why
		}
	}
	return ""
}

// checkSize refuses a list that is larger than a list may be.
func checkSize(items []Item) error {
	if len(items) > MaxItems {
		return fault.New(fault.Invalid, fault.ReasonTooManyItems, "A list holds at most %d items.", MaxItems)
	}
	total := 0
	for _, it := range items {
		total += len(it.Attributes)
	}
	if total > MaxListAttributesBytes {
		return fault.New(fault.Invalid, fault.ReasonInvalidField,
			"The attributes of a list hold at most %d bytes together.", MaxListAttributesBytes).
			Violating(fault.Violation{Field: "attributes", Description: "make the list's attributes smaller"})
	}
	return nil
}
