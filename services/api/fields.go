package api

import (
	"strings"
)

// fields say which members of a list, and which of its items' members, an
// answer shows: a field mask (AIP-157). The zero value shows all.
type fields struct {
	list, item uint32 // bits by index in listMembers and itemMembers
}

// everyField selects all members of one kind.
const everyField = ^uint32(0)

// itemsMember is the index of the items in listMembers.
const itemsMember = 0

func (f fields) listHas(i int) bool { return f == fields{} || f.list&(1<<i) != 0 }
func (f fields) itemHas(i int) bool { return f.item&(1<<i) != 0 }
func (f fields) wholeItems() bool   { return f == fields{} || f.item == everyField }

// readFields reads a mask: paths with commas between them. The second result
// says what is wrong with it.
func readFields(mask string) (f fields, wrong string) {
	for path := range strings.SplitSeq(mask, ",") {
		if !f.add(path) {
			return fields{}, "must be paths with commas between them; known are " + strings.Join(knownFields(), ", ")
		}
	}
	return f, ""
}

func (f *fields) add(path string) bool {
	const items = "preferences"
	if member, of := strings.CutPrefix(path, items+"."); of {
		for i, m := range itemMembers {
			if nameOf(m.name) == member {
				f.list |= 1 << itemsMember
				f.item |= 1 << i
				return true
			}
		}
		return false
	}
	for i, m := range listMembers {
		if nameOf(m.name) == path {
			f.list |= 1 << i
			if path == items {
				f.item = everyField
			}
			return true
		}
	}
	return false
}

func knownFields() []string {
	names := make([]string, 0, len(listMembers)+len(itemMembers))
	for _, m := range listMembers {
		names = append(names, nameOf(m.name))
	}
	for _, m := range itemMembers {
		names = append(names, "preferences."+nameOf(m.name))
	}
	return names
}

// nameOf takes the punctuation off a member's name.
func nameOf(member string) string { return strings.Trim(member, `":`) }
