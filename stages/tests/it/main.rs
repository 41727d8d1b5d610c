//! The tests of the built-in stages: each runs a stage through its manifest, as the engine does.
