//! The server: configuration, composition, the gRPC and HTTP edge, telemetry, command line.
