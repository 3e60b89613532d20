//! Google's emulator of Pub/Sub.
