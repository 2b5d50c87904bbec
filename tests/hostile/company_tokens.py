"""Tokens of the company: who makes, renews, revokes and exchanges them, as docs/howto/members.md says it."""

from tests.hostile.company import LASTING, SHORT, Company, Token, Trust


class Issuing(Company):
    """The company, with what its tokens become. What makes a token gives it, or None where that is refused."""

    def make(self, by, who, scopes, limits, acts_for):
        """Make a token: anybody's as an admin, a script's of one's namespaces as their owner, one's own narrower."""
        scopes = frozenset(scopes)
        if who in self.members or who in self.disabled or not self.is_live(by):
            return None
        kind = self.kinds.get(who, "service")
        if self.is_admin(by):
            return self.make_as_admin(by, who, kind, scopes, limits, acts_for)
        if who == by.who:
            return self.make_own(by, scopes, limits, acts_for)
        if limits is None or kind != "service" or not self.may_make(by, who, scopes, limits, acts_for):
            return None
        return self.issue(by, who, acts_for, Token(who, scopes, limits))

    def may_make(self, by, who, scopes, limits, acts_for):
        """Whether an owner of namespaces makes a token of a script of theirs."""
        gives = all(
            self.may(by, "admin", name)
            and all(scope != "break-glass" and self.may(by, scope, name) for scope in scopes)
            for name in limits
        )
        mine = {by.who, *(group for group, people in self.members.items() if by.who in people)}
        is_theirs = {self.owners.get(who, by.who), acts_for or by.who} <= mine
        is_named = any(who.startswith(f"{name}-") for name in limits)
        return gives and is_named and is_theirs and self.kinds[by.who] == "user"

    def make_as_admin(self, by, who, kind, scopes, limits, acts_for):
        if kind == "user" and acts_for is not None:
            return None
        holds = any("break-glass" in rights for at in (None, *self.namespaces) for rights, _ in self.roles_of(who, at))
        is_own = who == by.who and holds
        if "break-glass" in scopes and not is_own and not self.may(by, "break-glass", None):
            return None
        made = Token(who, scopes, limits, made_with=by if who == by.who else None)
        return self.issue(by, who, acts_for, made)

    def make_own(self, by, scopes, limits, acts_for):
        """Make one for oneself: never wider than the one that it is made with, and ended with it."""
        if acts_for is not None or not all(by.is_for(scope) for scope in scopes):
            return None
        within = by.limits if limits is None else limits
        if by.limits is not None and not within <= by.limits:
            return None
        life = SHORT if by.life == SHORT or by.is_renewed else LASTING
        return self.add(Token(by.who, scopes, within, life=life, made_with=by))

    def issue(self, by, who, acts_for, token):
        if acts_for is not None and (
            acts_for in self.disabled or self.kinds.get(acts_for) == "service" or not self.is_owner(acts_for)
        ):
            return None
        if self.kinds.get(who, "service") == "service":
            owner = self.owners.get(who)
            if owner is not None and acts_for not in {None, owner}:
                return None
            self.kinds[who] = "service"
            self.owners[who] = owner or acts_for or self.owners.get(by.who, by.who)
        return self.add(token)

    def is_owner(self, name):
        return name in self.kinds or name in self.members

    def add(self, token):
        self.tokens.append(token)
        return token

    def renew(self, by):
        """Replace a token by one that lives as long; the old one works on for an hour, or until it is lost again."""
        earlier = [token for token in self.tokens if token.renews is by and token.is_live]
        if not self.is_live(by) or by.life == SHORT or any(token.is_used for token in earlier):
            return None
        self.end(earlier)
        by.is_renewed = True
        return self.add(Token(by.who, by.scopes, by.limits, made_with=by.made_with, renews=by))

    def revoke(self, by, token):
        """End a token that one sees, with what took its place and what was made with it."""
        if not self.lists_token(by, token):
            return False
        family = {token}
        while True:
            added = {each for each in self.tokens if each.made_with in family or each.renews in family}
            added |= {each.renews for each in family if each.renews is not None}
            if added <= family:
                break
            family |= added
        self.end(family)
        return True

    def lists_token(self, by, token):
        if not self.is_live(by):
            return False
        if self.is_admin(by):
            return True
        groups = {group for group, people in self.members.items() if by.who in people}
        if token.who == by.who or self.owners.get(token.who) in {by.who, *groups}:
            return True
        is_script = self.kinds[token.who] == "service" and token.limits is not None
        return is_script and all(self.may(by, "admin", name) for name in token.limits)

    def trust(self, by, namespace, account, scopes):
        """Let workflows have tokens of a script's, which gets the least roles that it lacks for them.

        Gives the trust, or None if it is refused: of two who ask for the same, the first answers for it.
        """
        scopes = [scope for scope in ("read", "push", "promote", "serve") if scope in {"read", *scopes}]
        if not self.may(by, "admin", namespace) or not self.may_give(by, scopes, namespace):
            return None
        same = [one for one in self.trusts if one.is_live and one.accepts(namespace, account, scopes)]
        if same:
            return same[0] if same[0].maker == by.who else None
        if account in self.members or self.kinds.get(account, "service") != "service":
            return None
        if account in self.kinds and not self.is_admin(by):
            return None
        if account not in self.kinds:
            self.kinds[account], self.owners[account] = "service", self.owners.get(by.who, by.who)
        for scope in scopes:
            is_held = any(not part and scope in rights for rights, part in self.roles_of(account, namespace))
            if not is_held and (scope != "read" or len(scopes) == 1):
                role = {"read": "reader", "push": "pusher", "promote": "promoter", "serve": "server"}[scope]
                self.held.add((account, role, namespace, ""))
        self.trusts.append(Trust(0, namespace, account, by.who, scopes))
        return self.trusts[-1]

    def exchange(self, trust):
        """Give a token for what a trust says, as far as its account and who made it hold that now."""
        if not trust.is_live or {trust.account, trust.maker} & self.disabled:
            return None
        scopes = {
            scope
            for scope in trust.scopes
            if all(self.gives_whole(who, scope, trust.namespace) for who in (trust.account, trust.maker))
        }
        if not scopes:
            return None
        limits = frozenset({trust.namespace})
        return self.add(Token(trust.account, frozenset(scopes), limits, life=SHORT, trust=trust.number))

    def gives_whole(self, who, right, namespace):
        """Whether somebody holds a right in all of a namespace by a role."""
        return any(not pattern and right in rights for rights, pattern in self.roles_of(who, namespace))

    def end_trust(self, by, trust):
        if not trust.is_live or not self.may(by, "admin", trust.namespace):
            return False
        trust.is_live = False
        self.end([token for token in self.tokens if token.trust == trust.number])
        return True
