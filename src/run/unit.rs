//! One unit of a counted resource, such as a GPU.

use std::collections::BTreeMap;

use crate::files::lock::Lock;

/// The name of the resource, and the number of the unit, from 0.
pub type Unit = (String, u32);

/// The units that a stage holds while it runs, each with its lock.
pub type Held = BTreeMap<Unit, Lock>;
