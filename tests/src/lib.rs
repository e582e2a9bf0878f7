//! End-to-end, kill and tidy tests
