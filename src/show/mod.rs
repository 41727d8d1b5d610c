//! later
pub mod text;
