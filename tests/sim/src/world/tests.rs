//! S1-S27 of the domain facts, column by column.
