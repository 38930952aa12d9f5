package cluster

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// user is somebody the API server knows by a token. The name of the kubeconfig
// is short; the user name is what RBAC and the audit log see.
type user struct {
	kubeconfig string
	name       string
	groups     []string
}

const (
	groupMasters = "system:masters"
	// Groups of people in the sandbox's stories.
	groupSRELeads = "sre-leads"
	groupDevs     = "devs"
)

// users are all who can log in. Every component has a name of its own, so the
// audit log tells who wrote what.
var users = []user{
	{"admin", "admin", []string{groupMasters}},
	// The controller under test is the service account its chart makes, so that
	// the chart's roles and policies mean it, though it runs outside of a pod.
	{"weir", "system:serviceaccount:weir-system:weir", []string{
		"system:serviceaccounts", "system:serviceaccounts:weir-system", "system:authenticated",
	}},
	{"kube-controller-manager", "system:kube-controller-manager", nil},
	{"kube-scheduler", "system:kube-scheduler", nil},
	{"kube-proxy", "system:kube-proxy", nil},
	{linkerdUser, linkerdUser, nil},
	{"kubelet", "kubelet", []string{groupMasters}},
	{"prometheus", "prometheus", nil},
	{"gateway", "gateway", []string{groupMasters}},
	{"istiod", "istiod", []string{groupMasters}},
	{"alice", "alice", []string{groupSRELeads}},
	{"bob", "bob", []string{groupSRELeads}},
	{"carol", "carol", []string{groupDevs}},
	{"gitops", "gitops", []string{groupDevs}},
}

// writeUsers makes a token for every user, and kubeconfigs with it for use
// inside and, with the address the API server has there, outside.
func writeUsers(l layout, outsideURL string) error {
	ca, err := os.ReadFile(l.caCert())
	if err != nil {
		return fmt.Errorf("cannot read certificate: %w", err)
	}
	var tokens strings.Builder
	for _, u := range users {
		token := rand.Text()
		// token,user,uid,"group1,group2"
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, u.name, u.name, strings.Join(u.groups, ","))
		for _, outside := range []bool{false, true} {
			url := APIServerURL
			if outside {
				url = outsideURL
			}
			if err := writeKubeconfig(Kubeconfig(l.dir, u.kubeconfig, outside), url, u.kubeconfig, token, ca); err != nil {
				return err
			}
		}
	}
	if err := os.WriteFile(l.tokens(), []byte(tokens.String()), 0o600); err != nil {
		return fmt.Errorf("cannot write tokens: %w", err)
	}
	return nil
}

func writeKubeconfig(path, url, user, token string, ca []byte) error {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["sandbox"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: ca}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{Token: token}
	cfg.Contexts["sandbox"] = &clientcmdapi.Context{Cluster: "sandbox", AuthInfo: user, Namespace: "default"}
	cfg.CurrentContext = "sandbox"
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		return fmt.Errorf("cannot write kubeconfig: %w", err)
	}
	return nil
}
