//! Users, roles and rights, and how one logs in.

use std::sync::Arc;

use quorate_mvcc::auth::{Permission, ROOT, admin, needs};
use quorate_mvcc::{Auth as Rights, AuthCommand, Caller, Command, Error, KeyRange};
use quorate_proto::authpb;
use quorate_proto::etcdserverpb as pb;
use tonic::{Request, Response, Status};

use super::{Failure, caller};
use crate::login::{Secret, Token};
use crate::member::Member;
use crate::quota;

/// How often a log-in begins again because rights were changed while the password was compared.
const LOGINS_MAX: usize = 10;

/// The service.
#[derive(Debug)]
pub(crate) struct Auth(pub(crate) Arc<Member>);

#[tonic::async_trait]
impl pb::auth_server::Auth for Auth {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let header = self.change(&request, AuthCommand::Enable).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let header = self.change(&request, AuthCommand::Disable).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    /// Whoever wants to know whether to log in may ask.
    async fn auth_status(
        &self,
        _: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let state = self.0.state_for(false).await?;
        let (header, auth) = (self.0.header(state.0.revision()), state.0.auth());
        let (enabled, auth_revision) = (auth.is_enabled(), auth.revision());
        Ok(Response::new(pb::AuthStatusResponse { header, enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let (revision, token) = self.log_in(name, password.into()).await?;
        let header = self.0.header(revision);
        Ok(Response::new(pb::AuthenticateResponse { header, token: token.into_text() }))
    }

    async fn user_add(
        &self,
        mut request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let given = request.get_mut();
        let has_none = given.options.as_ref().is_some_and(|options| options.no_password);
        let (name, password) =
            (std::mem::take(&mut given.name), Secret::from(std::mem::take(&mut given.password)));
        // What is refused anyway is not worth a hash.
        self.0.published.state().auth().check_root(&caller(&request)).map_err(Failure::from)?;
        if name.is_empty() {
            return Err(Failure::from(Error::UserEmpty).into());
        }
        let password = match has_none {
            true => None,
            false => Some(self.0.passwords.hash(password).await?),
        };
        let header = self.add(&request, AuthCommand::UserAdd { name, password }).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header }))
    }

    /// A user may ask what roles it has itself.
    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let name = &request.get_ref().name;
        let (header, roles) = self
            .look(&request, |auth, caller| {
                match caller {
                    Caller::User { name: own, .. } if own == name => auth.check_user(caller)?,
                    _ => auth.check_root(caller)?,
                }
                let user = auth.user(name).ok_or(Error::UserNotFound)?;
                Ok(user.roles.iter().cloned().collect())
            })
            .await?;
        Ok(Response::new(pb::AuthUserGetResponse { header, roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let (header, users) = self
            .look(&request, |auth, caller| {
                auth.check_root(caller)?;
                Ok(auth.users().map(str::to_owned).collect())
            })
            .await?;
        Ok(Response::new(pb::AuthUserListResponse { header, users }))
    }

    async fn user_change_password(
        &self,
        mut request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let given = request.get_mut();
        let (name, password) =
            (std::mem::take(&mut given.name), Secret::from(std::mem::take(&mut given.password)));
        self.0.published.state().auth().check_root(&caller(&request)).map_err(Failure::from)?;
        let password = self.0.passwords.hash(password).await?;
        let command = AuthCommand::UserChangePassword { name, password };
        let header = self.change(&request, command).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let pb::AuthUserDeleteRequest { name } = request.get_ref().clone();
        let header = self.change(&request, AuthCommand::UserDelete { name }).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let pb::AuthUserGrantRoleRequest { user, role } = request.get_ref().clone();
        let header = self.add(&request, AuthCommand::UserGrantRole { user, role }).await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let pb::AuthUserRevokeRoleRequest { name, role } = request.get_ref().clone();
        let header =
            self.change(&request, AuthCommand::UserRevokeRole { user: name, role }).await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let pb::AuthRoleAddRequest { name } = request.get_ref().clone();
        let header = self.add(&request, AuthCommand::RoleAdd { name }).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    /// A user may ask what its own roles permit.
    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let name = &request.get_ref().role;
        let (header, perm) = self
            .look(&request, |auth, caller| {
                match caller {
                    Caller::User { name: own, .. }
                        if auth.user(own).is_some_and(|user| user.roles.contains(name)) =>
                    {
                        auth.check_user(caller)?;
                    }
                    _ => auth.check_root(caller)?,
                }
                if name == ROOT {
                    let everything = authpb::Permission {
                        perm_type: authpb::permission::Type::Readwrite.into(),
                        key: bytes::Bytes::new(),
                        range_end: needs::all_keys().to_pair().1,
                    };
                    return Ok(vec![everything]);
                }
                let role = auth.role(name).ok_or(Error::RoleNotFound)?;
                Ok(role.permissions().map(|(range, may)| permission(&range, may)).collect())
            })
            .await?;
        Ok(Response::new(pb::AuthRoleGetResponse { header, perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let (header, roles) = self
            .look(&request, |auth, caller| {
                auth.check_root(caller)?;
                Ok(auth.roles().map(str::to_owned).collect())
            })
            .await?;
        Ok(Response::new(pb::AuthRoleListResponse { header, roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let pb::AuthRoleDeleteRequest { role } = request.get_ref().clone();
        let header = self.change(&request, AuthCommand::RoleDelete { name: role }).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let pb::AuthRoleGrantPermissionRequest { name, perm } = request.get_ref().clone();
        let authpb::Permission { perm_type, key, range_end } =
            perm.ok_or(Failure::PermissionNotGiven)?;
        let range = admin::permission_range(key, range_end).map_err(Failure::from)?;
        let permission = match authpb::permission::Type::try_from(perm_type) {
            Ok(authpb::permission::Type::Read) => Permission::Read,
            Ok(authpb::permission::Type::Write) => Permission::Write,
            Ok(authpb::permission::Type::Readwrite) => Permission::ReadWrite,
            Err(_) => return Err(Failure::from(Error::InvalidAuthManagement).into()),
        };
        let header = self
            .add(&request, AuthCommand::RoleGrantPermission { role: name, range, permission })
            .await?;
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let pb::AuthRoleRevokePermissionRequest { role, key, range_end } =
            request.get_ref().clone();
        // What could not be granted is granted to nobody.
        let range = KeyRange::parse(key, range_end)
            .map_err(|_| Failure::from(Error::PermissionNotGranted))?;
        let header =
            self.change(&request, AuthCommand::RoleRevokePermission { role, range }).await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}

impl Auth {
    /// Has users, roles or rights changed.
    async fn change<T>(
        &self,
        request: &Request<T>,
        command: AuthCommand,
    ) -> Result<Option<pb::ResponseHeader>, Failure> {
        let (revision, _) = self.0.propose(&caller(request), Command::Auth(command)).await?;
        Ok(self.0.header(revision))
    }

    /// The same, where it takes more space then.
    async fn add<T>(
        &self,
        request: &Request<T>,
        command: AuthCommand,
    ) -> Result<Option<pb::ResponseHeader>, Failure> {
        self.0.check_quota(quota::key_cost(&[], &[]))?;
        self.change(request, command).await
    }

    /// What there is now, for whoever may know it.
    async fn look<T, Seen>(
        &self,
        request: &Request<T>,
        look: impl FnOnce(&Rights, &Caller) -> Result<Seen, Failure>,
    ) -> Result<(Option<pb::ResponseHeader>, Seen), Failure> {
        let state = self.0.state_for(false).await?;
        let seen = look(state.0.auth(), &caller(request))?;
        Ok((self.0.header(state.0.revision()), seen))
    }

    /// Gives a token for a name and a password.
    async fn log_in(&self, name: String, password: Secret) -> Result<(i64, Secret), Failure> {
        let password = Arc::new(password);
        self.0.backoff.turn(&name).await?;
        for _ in 0..LOGINS_MAX {
            let state = self.0.state_for(false).await?;
            let auth = state.0.auth();
            if !auth.is_enabled() {
                return Err(Error::AuthNotEnabled.into());
            }
            let user = auth.user(&name);
            if user.is_some_and(|user| user.password.is_none()) {
                return Err(Failure::HasNoPassword);
            }
            let hash = user.and_then(|user| user.password.clone());
            let was_right = self.0.passwords.compare(&password, hash).await?;
            self.0.backoff.note(&name, was_right);
            if !was_right {
                return Err(Failure::WrongPassword);
            }
            let revision = auth.revision();
            if let Some(jwt) = &self.0.jwt {
                // If rights were changed since, the token is an old one already, and everybody sees that.
                let text = tokio::task::block_in_place(|| jwt.issue(&name, revision))?;
                return Ok((state.0.revision(), text));
            }
            let (text, token) = Token::new(revision)?;
            let token = bytes::Bytes::copy_from_slice(token.bytes());
            let issue = AuthCommand::Issue { name: name.clone(), token, revision };
            match self.0.propose(&Caller::Nobody, Command::Auth(issue)).await {
                // The password may be another one by now.
                Err(Failure::Refused(Error::AuthOldRevision)) => {}
                Err(failure) => return Err(failure),
                Ok((revision, _)) => return Ok((revision, text)),
            }
        }
        Err(Error::AuthOldRevision.into())
    }
}

/// A permission as clients see it.
fn permission(range: &KeyRange, permission: Permission) -> authpb::Permission {
    let (key, range_end) = range.to_pair();
    let perm_type = match permission {
        Permission::Read => authpb::permission::Type::Read,
        Permission::Write => authpb::permission::Type::Write,
        Permission::ReadWrite => authpb::permission::Type::Readwrite,
    };
    authpb::Permission { perm_type: perm_type.into(), key, range_end }
}
