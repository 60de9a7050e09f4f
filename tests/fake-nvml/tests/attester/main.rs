//! The attester's GPU side through the real bindings, against the fake.

mod collection;
mod ready_state;
mod support;
