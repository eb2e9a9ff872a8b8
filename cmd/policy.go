package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"bluesky/repo"
)

func newPolicyCommand(e *env) *cobra.Command {
	var quarantine spanValue
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show or change the policy of the repository",
		Long: `Show the policy of the repository, which holds for everybody who cleans it, or
change it, which takes the password.

For the time of the quarantine what forgotten snapshots need stays in the
repository, whoever prunes: until then bluesky undo-forget brings them back. It
is counted from the forget, by the times of the storage.`,
		Args: noArgs,
	}
	cmd.Flags().Var(&quarantine, "quarantine", "keep what forgotten snapshots need for this `duration`, such as 12h or 7d; 0s ends the quarantine")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !quarantine.given {
			return e.showPolicy(cmd.Context())
		}
		seconds := (quarantine.Duration + time.Second - 1) / time.Second // none of it is lost
		return e.setPolicy(cmd.Context(), repo.Policy{Quarantine: uint64(seconds)})
	}
	return cmd
}

func (e *env) showPolicy(ctx context.Context) error {
	o, err := e.openKeyless(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	return e.printPolicy(o.state.Policy, o.repo.Verified())
}

func (e *env) setPolicy(ctx context.Context, policy repo.Policy) error {
	o, err := e.openKeyed(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	if o.state.Policy != policy {
		if _, err := o.repo.SetPolicy(ctx, o.keys.Admin(), policy); err != nil {
			return err
		}
	}
	return e.printPolicy(policy, true)
}

func (e *env) printPolicy(policy repo.Policy, verified bool) error {
	if e.json() {
		return e.printJSON(policyMessage{"policy", policy.Quarantine, verified})
	}
	if !verified {
		e.printf("identity not verified: this machine has not seen the repository before\n")
	}
	span := "none"
	if policy.Quarantine > 0 {
		span = formatSpan(time.Duration(min(policy.Quarantine, uint64(maxSpan/time.Second))) * time.Second)
	}
	e.printf("quarantine: %s\n", span)
	return nil
}

// policyMessage is the policy of the repository, as policy prints it.
type policyMessage struct {
	MessageType      string `json:"message_type"`
	Quarantine       uint64 `json:"quarantine"` // seconds
	IdentityVerified bool   `json:"identity_verified"`
}
