//! `lease`.

use clap::Subcommand;
use quorate_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};
use serde_json::json;

use crate::Run;
use crate::connect::{Connection, Error, request};
use crate::output::{self, Format};

/// Grant, renew, revoke and list leases.
#[derive(Debug, clap::Args)]
pub(crate) struct Lease {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a lease that ends after so many seconds without renewal.
    Grant {
        /// Seconds.
        ttl: i64,
    },
    /// End a lease, and delete the keys attached to it.
    Revoke {
        /// The lease, in hexadecimal.
        #[arg(value_parser = parse_id)]
        id: i64,
    },
    /// Renew a lease once.
    Renew {
        /// The lease, in hexadecimal.
        #[arg(value_parser = parse_id)]
        id: i64,
    },
    /// Show how long a lease has left, and its keys.
    Show {
        /// The lease, in hexadecimal.
        #[arg(value_parser = parse_id)]
        id: i64,
    },
    /// List all leases.
    List,
}

/// A lease's id as everybody writes it.
pub(crate) fn parse_id(text: &str) -> Result<i64, String> {
    u64::from_str_radix(text, 16)
        .map(u64::cast_signed)
        .map_err(|_| "a lease is written as up to 16 hexadecimal digits".to_owned())
}

impl Run for Lease {
    async fn run(self, connection: &Connection, format: Format) -> Result<(), Error> {
        let json = format == Format::Json;
        match self.action {
            Action::Grant { ttl } => {
                let message = LeaseGrantRequest { ttl, id: 0 };
                let response = connection
                    .call(|c, t| async move { c.lease().lease_grant(request(message, t)).await })
                    .await?;
                let id = format!("{:016x}", response.id);
                match format {
                    Format::Json => output::object(&json!({ "id": id, "ttl": response.ttl })),
                    Format::Raw => output::line(id),
                    Format::Text => output::line(format!("lease {id} for {} s", response.ttl)),
                }
            }
            Action::Revoke { id } => {
                let message = LeaseRevokeRequest { id };
                connection
                    .call(|c, t| async move { c.lease().lease_revoke(request(message, t)).await })
                    .await?;
                let id = format!("{id:016x}");
                if json {
                    output::object(&json!({ "id": id, "revoked": true }));
                } else {
                    output::line(format!("lease {id} revoked"));
                }
            }
            Action::Renew { id } => {
                let mut responses = connection
                    .call(|c, _| async move {
                        let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
                        c.lease().lease_keep_alive(requests).await
                    })
                    .await?;
                let response = responses.message().await.map_err(Error::Refused)?;
                let ttl = response.map_or(0, |response| response.ttl);
                if ttl <= 0 {
                    return Err(Error::Input(format!("lease {id:016x} expired or was revoked")));
                }
                if json {
                    output::object(&json!({ "id": format!("{id:016x}"), "ttl": ttl }));
                } else {
                    output::line(format!("lease {id:016x} for another {ttl} s"));
                }
            }
            Action::Show { id } => {
                let message = LeaseTimeToLiveRequest { id, keys: true };
                let response =
                    connection
                        .call(|c, t| async move {
                            c.lease().lease_time_to_live(request(message, t)).await
                        })
                        .await?;
                let (ttl, granted) = (response.ttl, response.granted_ttl);
                if ttl < 0 {
                    return Err(Error::Input(format!("there is no lease {id:016x}")));
                }
                if json {
                    output::object(&json!({
                        "id": format!("{id:016x}"),
                        "ttl": ttl,
                        "granted_ttl": granted,
                        "keys": response.keys.iter().map(|k| output::json_bytes(k)).collect::<Vec<_>>(),
                    }));
                } else {
                    output::line(format!("lease {id:016x}: {ttl} of {granted} s left"));
                    response.keys.iter().for_each(output::line);
                }
            }
            Action::List => {
                let message = LeaseLeasesRequest {};
                let response = connection
                    .call(|c, t| async move { c.lease().lease_leases(request(message, t)).await })
                    .await?;
                let ids = response.leases.iter().map(|lease| format!("{:016x}", lease.id));
                if json {
                    output::object(&json!(ids.collect::<Vec<_>>()));
                } else {
                    ids.for_each(output::line);
                }
            }
        }
        Ok(())
    }
}
