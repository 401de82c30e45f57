//! Text that somebody else chose.

/// Text from elsewhere as part of one line, which a terminal may be shown.
pub fn clean(text: &str) -> Option<String> {
    let text: String = text.trim().chars().take(256).map(|c| if c.is_control() { '?' } else { c }).collect();
    (!text.is_empty()).then_some(text)
}
