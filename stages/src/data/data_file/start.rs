//! How files start whose first bytes say what they are.

/// The bytes at the start of a file, where `?` stands for a digit, and what they mean.
pub type Start<T> = (&'static [u8], T);

/// What the first bytes of a file say.
pub enum Seen<T> {
    Is(usize, T),
    /// Further bytes are needed to tell. If there are none, it is this.
    Perhaps(Option<(usize, T)>),
    Other,
}

/// Looks up a beginning. [`Seen::Is`] has the length of the start.
pub fn look_up<T: Copy>(head: &[u8], starts: &[Start<T>]) -> Seen<T> {
    let agrees = |start: &[u8]| {
        let wanted = |(wanted, byte): (&u8, &u8)| match wanted {
            b'?' => byte.is_ascii_digit(),
            wanted => wanted == byte,
        };
        start.iter().zip(head).all(wanted)
    };
    let candidates = || starts.iter().filter(|(start, _)| agrees(start));
    let complete = candidates().find(|(start, _)| start.len() <= head.len());
    let complete = complete.map(|(start, what)| (start.len(), *what));
    // A longer start that still agrees may be meant instead.
    match (candidates().any(|(start, _)| start.len() > head.len()), complete) {
        (true, complete) => Seen::Perhaps(complete),
        (false, Some((length, what))) => Seen::Is(length, what),
        (false, None) => Seen::Other,
    }
}
