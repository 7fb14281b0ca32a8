//! The URLs of a configuration: where to listen, and where one may be reached.

use std::fmt;
use std::net::IpAddr;

/// An `http` or `https` URL of a host and a port, which is all that a member's address is made of.
///
/// Ordered as text, because etcd sorts the URLs of a member before it derives the member's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    /// The URL as it is shown to clients: `http://host:port`.
    text: String,
    /// Where in `text` the host begins.
    host_at: usize,
    /// Where in `text` the port begins.
    port_at: usize,
    port: u16,
}

impl Url {
    /// Parses one URL.
    ///
    /// # Errors
    /// What is wrong with it, in etcd's words where etcd would refuse it too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("URL scheme must be http, https, unix, or unixs: {text}"));
        };
        match scheme {
            "http" | "https" => {}
            "unix" | "unixs" => {
                return Err(format!("URLs with the scheme {scheme} are not supported yet: {text}"));
            }
            _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
        }
        // One slash at the end is a path as well, and etcd refuses it too.
        if rest.contains(['/', '?', '#']) {
            return Err(format!("URL must not contain a path: {text}"));
        }
        let malformed = || format!("URL address does not have the form \"host:port\": {text}");
        let (host, port) = rest.rsplit_once(':').ok_or_else(malformed)?;
        // Without its brackets, an IPv6 address would lose its last group to the port.
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains('@') || (host.contains(':') && !bracketed) {
            return Err(malformed());
        }
        // What no host has in its name would not come back from where addresses are written in lists and in lines.
        let is_of_host = |c: char| c.is_alphanumeric() || "-._~%:[]".contains(c);
        if let Some(wrong) = host.chars().find(|c| !is_of_host(*c)) {
            return Err(format!("URL has {wrong:?} in its host name: {text:?}"));
        }
        // Digits only: the standard parser would let a sign pass.
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let port: u16 = port.parse().map_err(|_| malformed())?;
        let host_at = text.len() - rest.len();
        Ok(Self { text: text.to_owned(), host_at, port_at: host_at + host.len() + 1, port })
    }

    /// Parses a comma-separated list into ascending order.
    ///
    /// # Errors
    /// As for [`Url::parse`], of the first that is wrong. An empty list is wrong.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let mut urls = text.split(',').map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        urls.sort();
        Ok(urls)
    }

    /// Whether connections to it are encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.text.starts_with("https")
    }

    /// The host, without the brackets of an IPv6 address. May be empty.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = &self.text[self.host_at..self.port_at - 1];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as a resolver takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.text[self.host_at..]
    }

    /// The whole URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether one can listen on it: a name may resolve to the address of somebody else.
    ///
    /// # Errors
    /// etcd's text, if the host is neither an IP address nor `localhost`.
    pub(super) fn check_listen(&self) -> Result<(), String> {
        let host = self.host();
        if host == "localhost" || host.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        Err(format!("expected IP in URL for binding ({self})"))
    }

    /// Whether others can be told to use it.
    ///
    /// # Errors
    /// If it names no host.
    pub(crate) fn check_advertise(&self) -> Result<(), String> {
        if self.host().is_empty() {
            return Err(format!("unexpected empty host ({self})"));
        }
        Ok(())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (text, host, port) in [
            ("http://localhost:2379", "localhost", 2379),
            ("http://10.0.0.1:0", "10.0.0.1", 0),
            ("http://[::1]:2380", "::1", 2380),
            ("http://:2380", "", 2380),
            (" http://example.com:1", "example.com", 1),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(url.as_str(), text.trim());
        }
    }

    #[test]
    fn refused() {
        for (text, why) in [
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("localhost:2379", "URL scheme must be http, https, unix, or unixs: localhost:2379"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("unix:///a", "URLs with the scheme unix are not supported yet: unix:///a"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://a:", "URL address does not have the form \"host:port\": http://a:"),
            ("http://a:+1", "URL address does not have the form \"host:port\": http://a:+1"),
            ("http://a:65536", "URL address does not have the form \"host:port\": http://a:65536"),
            ("http://::1:80", "URL address does not have the form \"host:port\": http://::1:80"),
            ("http://u@a:1", "URL address does not have the form \"host:port\": http://u@a:1"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("http://a b:1", "URL has ' ' in its host name: \"http://a b:1\""),
            ("http://a,b:1", "URL has ',' in its host name: \"http://a,b:1\""),
            ("http://a\nb:1", "URL has '\\n' in its host name: \"http://a\\nb:1\""),
        ] {
            assert_eq!(Url::parse(text).expect_err(text), why);
        }
    }

    #[test]
    fn encrypted_ones() {
        let url = Url::parse("https://[::1]:2379").expect("a URL");
        assert_eq!((url.host(), url.address(), url.port()), ("::1", "[::1]:2379", 2379));
        assert!(url.is_secure());
        let url = Url::parse("http://a:1").expect("a URL");
        assert!(!url.is_secure());
    }

    #[test]
    fn lists_are_sorted() {
        let urls = Url::parse_list("http://b:1,http://a:2").expect("two URLs");
        let texts: Vec<_> = urls.iter().map(Url::as_str).collect();
        assert_eq!(texts, ["http://a:2", "http://b:1"]);
        assert!(Url::parse_list("http://b:1,").is_err());
    }
}
