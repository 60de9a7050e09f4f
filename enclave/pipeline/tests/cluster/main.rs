//! A whole cluster: the head and its stages, over links that are late, end and
//! repeat themselves. Whatever happens, what is emitted is what one node emits,
//! once, and the parts of the receipt join.

mod model;
mod stage;
mod world;

mod chaos;
mod exhaustive;
mod manners;
mod speed;
mod storm;
