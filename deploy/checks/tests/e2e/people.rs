//! People who sign in with an identity provider: the certified `oidc-provider`, with its own forms, cookies, keys and clock. Nothing of
//! it is scripted; a browser that runs no scripts follows it from the gateway's door to the gateway's session.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use gateway_checks::source::root;
use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::gateway::{Gateway, Place, address, config};
use crate::http::{self, Reply};
use crate::{PATIENCE, clients, eventually};

pub(crate) const CLIENT_SECRET: &str = "of-the-gateway-at-its-provider-0123456789";
const CALLBACK: &str = "/admin/oidc/callback";
/// A code of the client `hasty` is good for one second of the provider's clock.
const PAST_HASTY: Duration = Duration::from_millis(2_500);

/// The provider's process. Dropping it ends it.
pub(crate) struct Provider {
    child: Child,
    pub(crate) url: String,
}

/// What a browser keeps and does, but for scripts and pictures.
struct Browser {
    cookies: BTreeMap<(SocketAddr, String), String>,
}

/// Where a browser was sent at last: back at the gateway's door, not yet opened.
struct Back {
    /// `code`, `state`, `iss`, or `error`.
    query: BTreeMap<String, String>,
}

// === impl Provider ===

impl Provider {
    /// `None` where the clients for Node are not installed.
    pub(crate) async fn start(redirect_url: &str) -> Option<Self> {
        let mut command = clients::node()?;
        command.arg(root().join("deploy/checks/tests/people/provider.mjs")).kill_on_drop(true);
        command.env("CLIENT_SECRET", CLIENT_SECRET).env("REDIRECT_URL", redirect_url);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("node starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("the provider says where it is");
        let line = line.expect("text").expect("the provider starts");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        Some(Self { child, url: ready["url"].as_str().expect("a URL").to_owned() })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        address(&json!(self.url))
    }

    /// The provider knows this person no more.
    async fn forget(&self, login: &str) {
        let reply = http::send(self.addr(), "POST", &format!("/test/forget?login={login}"), &[], "").await;
        assert_eq!(reply.status, 204, "{}", reply.text());
    }

    async fn stop(mut self) {
        self.child.kill().await.expect("it runs");
    }
}

// === impl Browser ===

impl Browser {
    fn new() -> Self {
        Self { cookies: BTreeMap::new() }
    }

    async fn open(&mut self, addr: SocketAddr, method: &str, path: &str, form: &str) -> Reply {
        let own = self.cookies.iter().filter(|((place, _), _)| *place == addr);
        let cookies = own.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = vec![("cookie", cookies.as_str())];
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let reply = http::send(addr, method, path, &headers, form.to_owned()).await;
        for value in reply.headers.get_all("set-cookie") {
            let pair = value.to_str().expect("text").split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("name=value");
            self.cookies.insert((addr, name.to_owned()), value.to_owned());
        }
        reply
    }

    /// From the gateway's door to the provider, through its forms as this person, and back to the door.
    async fn sign_in(&mut self, gateway: &Gateway, provider: &Provider, login: &str) -> Back {
        let sent = self.open(gateway.admin_addr(), "GET", "/admin/oidc/begin", "").await;
        assert_eq!(sent.status, 303, "{}", sent.text());
        let mut at = header(&sent, "location");
        assert!(at.starts_with(&provider.url), "{at}");
        for _ in 0..20 {
            let path = at.strip_prefix(&provider.url).unwrap_or(&at).to_owned();
            let mut reply = self.open(provider.addr(), "GET", &path, "").await;
            if reply.status == 200 {
                let (action, prompt) = form(&reply.text());
                let said = format!("prompt={prompt}&login={login}&password=whatever");
                let path = action.strip_prefix(&provider.url).unwrap_or(&action).to_owned();
                reply = self.open(provider.addr(), "POST", &path, &said).await;
            }
            assert!((300..400).contains(&reply.status), "{path}: {} {}", reply.status, reply.text());
            at = header(&reply, "location");
            if let Some((_, query)) = at.split_once(CALLBACK) {
                return Back { query: pairs(query.trim_start_matches('?')) };
            }
        }
        panic!("the provider sends the browser in circles; the last time to {at}");
    }

    /// Opens the door with what the provider gave, or with what somebody made of it.
    async fn come_back(&mut self, gateway: &Gateway, back: &Back) -> Reply {
        let query = back.query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        self.open(gateway.admin_addr(), "GET", &format!("{CALLBACK}?{query}"), "").await
    }

    fn is_signed_in(&self, gateway: &Gateway) -> bool {
        let mut own =
            self.cookies.iter().filter(|((place, _), value)| *place == gateway.admin_addr() && !value.is_empty());
        own.any(|((_, name), _)| name.ends_with("gateway_session"))
    }
}

fn header(reply: &Reply, name: &str) -> String {
    let value = reply.headers.get(name).unwrap_or_else(|| panic!("no {name}: {}", reply.text()));
    value.to_str().expect("text").to_owned()
}

/// Where the page's form goes, and what it asks: `login` or `consent`.
fn form(page: &str) -> (String, String) {
    let between = |before: &str, after: &str| {
        let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
        rest.split_once(after).expect("it ends").0.to_owned()
    };
    (between("action=\"", "\""), between("name=\"prompt\" value=\"", "\""))
}

/// As they are written: nothing in them is decoded, and so nothing has to be encoded again.
fn pairs(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The settings with which this gateway knows the provider as this client.
fn settings(gateway: &Gateway, provider: &Provider, client: &str) -> Value {
    json!({"oidc": {
        "issuer": provider.url, "client_id": client,
        "redirect_url": format!("http://{}{CALLBACK}", gateway.admin_addr()),
        "scopes": ["email", "groups"],
        "roles": [{"value": "ops", "role": "operator"}, {"value": "search-leads", "role": "team-admin", "leads": ["search"]}],
    }})
}

async fn control_plane(place: &Place) -> Gateway {
    place.write("client-secret", CLIENT_SECRET);
    place.control_plane(&["--oidc-client-secret-file", "client-secret"]).await
}

/// OpenID Connect from end to end.
#[tokio::test]
async fn oidc_sign_in_through_a_certified_provider() {
    let place = Place::new();
    let gateway = control_plane(&place).await;
    let redirect_url = format!("http://{}{CALLBACK}", gateway.admin_addr());
    let Some(provider) = Provider::start(&redirect_url).await else { return };
    assert_eq!(gateway.admin("POST", "/admin/teams", json!({"name": "search"})).await.status, 201);
    let patched = gateway.admin("PATCH", "/admin/settings", settings(&gateway, &provider, "gateway")).await;
    assert!(patched.status < 300, "{}", patched.text());

    // Roles come of what the provider says of people, and are theirs to the letter.
    for (login, role, permitted, refused) in [
        ("ada", "operator", "/admin/models", "/admin/users/x/password"),
        ("lee", "team-admin", "/admin/keys", "/admin/models"),
    ] {
        let mut browser = Browser::new();
        let back = browser.sign_in(&gateway, &provider, login).await;
        let reply = browser.come_back(&gateway, &back).await;
        assert_eq!(reply.status, 200, "{login}: {}", reply.text());
        let shown = browser.open(gateway.admin_addr(), "GET", "/admin/session", "").await.json();
        assert_eq!(shown["actor"], format!("oidc:{login}@example.com"), "{shown}");
        assert_eq!(shown["role"], role);
        assert_eq!(browser.open(gateway.admin_addr(), "GET", permitted, "").await.status, 200);
        let method = if refused.ends_with("password") { "PUT" } else { "GET" };
        let status = browser.open(gateway.admin_addr(), method, refused, "").await.status;
        assert_eq!(status, 403, "{login}: {method} {refused}");
        // A code is good once.
        let again = browser.come_back(&gateway, &back).await;
        assert!(matches!(again.status, 400), "{}", again.text());
    }
    let mut nobody = Browser::new();
    let back = nobody.sign_in(&gateway, &provider, "eve").await;
    assert_eq!(nobody.come_back(&gateway, &back).await.status, 403, "what she is in has no role here");
    assert!(!nobody.is_signed_in(&gateway));
    provider.stop().await;
}

/// What somebody in between, or somebody too late, makes of it.
#[tokio::test]
async fn oidc_refuses_what_is_not_of_this_sign_in() {
    let place = Place::new();
    let gateway = control_plane(&place).await;
    let redirect_url = format!("http://{}{CALLBACK}", gateway.admin_addr());
    let Some(provider) = Provider::start(&redirect_url).await else { return };
    assert_eq!(gateway.admin("POST", "/admin/teams", json!({"name": "search"})).await.status, 201);
    let set = async |client: &str| {
        let patched = gateway.admin("PATCH", "/admin/settings", settings(&gateway, &provider, client)).await;
        assert!(patched.status < 300, "{}", patched.text());
    };
    set("gateway").await;

    let mut browser = Browser::new();
    let mut forged = browser.sign_in(&gateway, &provider, "ada").await;
    forged.query.insert("state".to_owned(), "forged".to_owned());
    assert_eq!(browser.come_back(&gateway, &forged).await.status, 400, "a state that this browser did not begin with");

    // The code of one sign-in, put into another one: its verifier and its nonce are not those.
    let (mut victim, mut thief) = (Browser::new(), Browser::new());
    let stolen = victim.sign_in(&gateway, &provider, "ada").await;
    let mut own = thief.sign_in(&gateway, &provider, "lee").await;
    own.query.insert("code".to_owned(), stolen.query["code"].clone());
    assert_eq!(thief.come_back(&gateway, &own).await.status, 400);
    assert!(!thief.is_signed_in(&gateway));
    // Without the cookie that began it.
    let mut other = Browser::new();
    assert_eq!(other.come_back(&gateway, &stolen).await.status, 400);
    assert!(!other.is_signed_in(&gateway));

    // Somebody whom the provider lets go between the form and the code.
    let mut gone = Browser::new();
    let back = gone.sign_in(&gateway, &provider, "gone").await;
    provider.forget("gone").await;
    let reply = gone.come_back(&gateway, &back).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(!gone.is_signed_in(&gateway));

    // A code that nobody redeemed in time.
    set("hasty").await;
    let mut late = Browser::new();
    let back = late.sign_in(&gateway, &provider, "ada").await;
    tokio::time::sleep(PAST_HASTY).await;
    let reply = late.come_back(&gateway, &back).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("invalid_grant"), "{}", reply.text());
    assert!(!late.is_signed_in(&gateway));
    provider.stop().await;
}

/// A token of its own for one of the provider's programs.
async fn access_token(provider: &Provider, basic: &str) -> String {
    let authorization = format!("Basic {basic}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let reply = http::send(provider.addr(), "POST", "/token", &headers, "grant_type=client_credentials").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["access_token"].as_str().expect("a token").to_owned()
}

/// Opaque tokens of programs, which only the server that made them can read: asked about as RFC 7662 has it.
#[tokio::test]
async fn introspection_by_a_certified_server() {
    /// `search-bot`, `stray-bot`, each with [`CLIENT_SECRET`].
    const SEARCH: &str = "c2VhcmNoLWJvdDpvZi10aGUtZ2F0ZXdheS1hdC1pdHMtcHJvdmlkZXItMDEyMzQ1Njc4OQ==";
    const STRAY: &str = "c3RyYXktYm90Om9mLXRoZS1nYXRld2F5LWF0LWl0cy1wcm92aWRlci0wMTIzNDU2Nzg5";
    let Some(provider) = Provider::start("http://127.0.0.1/unused").await else { return };
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let place = Place::new();
    place.write(
        "gateway.yaml",
        &format!(
            "settings:
  introspection:
    - name: corp
      url: \"{}/token/introspection\"
      client_id: gateway
      client_secret: {CLIENT_SECRET}
      issuer: \"{}\"
      max_age: 100ms
      allow_private_networks: true
      claims: {{team: team, models: models}}
teams:
  - {{name: search}}
{}",
            provider.url,
            provider.url,
            config(&upstream.url())
        ),
    );
    let mut gateway = place.node(&[]).await;
    let token = access_token(&provider, SEARCH).await;
    for (key, model, expected) in [
        (token.clone(), "m", 200),
        (token.clone(), "fake/other", 403),
        (access_token(&provider, STRAY).await, "m", 401),
        ("made-up-by-somebody".to_owned(), "m", 401),
    ] {
        gateway.key = key;
        let reply = gateway.chat(model).await;
        assert_eq!(reply.status, expected, "{model}: {}", reply.text());
    }
    // Revoked there, it is soon good no more here.
    gateway.key = token.clone();
    let authorization = format!("Basic {SEARCH}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let reply = http::send(provider.addr(), "POST", "/token/revocation", &headers, format!("token={token}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    eventually("the token to be refused", || async { (gateway.chat("m").await.status == 401).then_some(()) }).await;
    // Without the server nobody is let in whom it would have to be asked about, and nobody is told that their token is bad.
    gateway.key = access_token(&provider, SEARCH).await;
    provider.stop().await;
    let reply = gateway.chat("m").await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some("token_unverified")));
    gateway.stop().await;
}
