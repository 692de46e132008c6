//! What the heads know of themselves, as one snapshot.
