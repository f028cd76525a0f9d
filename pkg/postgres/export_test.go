package postgres

// DecodeHeaders is what the relay reads stored headers with.
var DecodeHeaders = decodeHeaders

// Statements are the named statements, by name.
var Statements = statements
