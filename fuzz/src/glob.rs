/// Whether a name fits a pattern with `*` and `?`: by a table of which beginnings fit which, the slow and plain way.
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Whether the pattern so far fits each beginning of the name.
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for byte in pattern {
        let mut next = vec![false; name.len() + 1];
        for length in 0..=name.len() {
            next[length] = match byte {
                b'*' => fits[..=length].contains(&true),
                b'?' => length > 0 && fits[length - 1],
                byte => length > 0 && fits[length - 1] && name[length - 1] == *byte,
            };
        }
        fits = next;
    }
    fits[name.len()]
}
