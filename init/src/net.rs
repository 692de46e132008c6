//! Interfaces, service addresses, their announcement, and the tickle of old connections.
