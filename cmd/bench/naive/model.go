package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Preference is a row, and what the API shows of it.
type Preference struct {
	ID         string         `gorm:"primaryKey;type:uuid;default:gen_random_uuid()" json:"id"`
	UserID     string         `gorm:"not null;uniqueIndex:idx_user_domain_entity,priority:1" json:"-"`
	Domain     string         `gorm:"not null;uniqueIndex:idx_user_domain_entity,priority:2" json:"domain"`
	EntityType string         `gorm:"not null;uniqueIndex:idx_user_domain_entity,priority:3" json:"entityType"`
	EntityID   string         `gorm:"not null;uniqueIndex:idx_user_domain_entity,priority:4;index" json:"entityId"`
	Order      int            `gorm:"column:sort_order;not null" json:"order"`
	Attributes map[string]any `gorm:"type:jsonb;serializer:json;not null;default:'{}'" json:"attributes"`
	Version    int            `gorm:"not null;default:1" json:"version"`
	CreatedAt  time.Time      `json:"createTime"`
	UpdatedAt  time.Time      `json:"updateTime"`
}

// List is the answer to reads and saves of a whole list.
type List struct {
	Preferences []Preference `json:"preferences"`
	TotalSize   int          `json:"totalSize"`
}

// tagged is a body with its hash as the tag.
func tagged(body any) (text []byte, etag string, err error) {
	text, err = json.Marshal(body)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(text)
	return text, `"` + hex.EncodeToString(sum[:16]) + `"`, nil
}

// SaveRequest is the body of a save.
type SaveRequest struct {
	Domain      string `json:"domain"`
	Preferences []struct {
		EntityID   string         `json:"entityId"`
		EntityType string         `json:"entityType"`
		Order      int            `json:"order"`
		Attributes map[string]any `json:"attributes"`
	} `json:"preferences"`
}

// CreateRequest is the body that adds an item.
type CreateRequest struct {
	Domain     string         `json:"domain"`
	EntityID   string         `json:"entityId"`
	EntityType string         `json:"entityType"`
	Attributes map[string]any `json:"attributes"`
}

// UpdateRequest is the body that changes an item.
type UpdateRequest struct {
	Order      *int           `json:"order"`
	Attributes map[string]any `json:"attributes"`
}
