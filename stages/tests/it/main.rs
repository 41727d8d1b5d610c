//! Tests of the built-in stages against fixtures.

mod model;
