package api

// NewHTTPServer is what Run serves with.
var NewHTTPServer = newHTTPServer
