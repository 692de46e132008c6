//! The lab: two heads, a shelf, cables and a client, with faults on demand.
