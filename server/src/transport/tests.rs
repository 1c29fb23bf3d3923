//! The transport with real sockets.
