package postgres

// DecodeHeaders is what the relay reads stored headers with.
var DecodeHeaders = decodeHeaders
