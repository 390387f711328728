//! The hands and eyes: the only TDS client.
