//! /orthrus.toml: parsed into what the rest can rely on, with errors that name line and field.
