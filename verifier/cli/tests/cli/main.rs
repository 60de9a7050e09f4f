//! The command as a person or a script meets it: real processes, their exit
//! codes, what is on stdout and what on stderr. What needs a running node is in
//! the workspace's end-to-end tests.

mod appraise;
mod inspect;
mod process;
mod proxy;
mod receipt;
mod screen;
mod signatures;
