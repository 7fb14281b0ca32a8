//! What the data model asks of an engine, reduced to the calls that the comparison times.

/// The rows by which a put is recorded; each is a `(table, key, value)`.
pub struct Row {
    /// 0 is the history, 1 the key index, 2 the applied position.
    pub table: u8,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// One engine under test. Errors panic: a benchmark that cannot write has nothing to report.
pub trait Engine {
    /// Applies all rows or none. Need not survive a power cut before the next `settle`.
    fn commit(&mut self, rows: &[Row]);
    fn get(&self, table: u8, key: &[u8]) -> Option<Vec<u8>>;
    /// Calls `visit` for every row from `from` on, in key order, until it answers false.
    fn scan(&self, table: u8, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool);
    /// Makes everything durable and waits until background work is done.
    fn settle(&mut self);
    /// One line about the engine's inner state, for the curious.
    fn describe(&self) -> String {
        String::new()
    }
}
