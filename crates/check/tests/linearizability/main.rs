//! The checker of linearizability: on the anomalies that have names, against a brute force, and at the
//! size of a real run.

#[path = "../common/mod.rs"]
mod common;

mod anomalies;
mod brute_force;
mod random;
