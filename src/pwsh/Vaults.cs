using System;
using System.Collections;
using System.Collections.Generic;
using System.Management.Automation;
using System.Security;

namespace SecretBridge;

/// <summary>What `register` found out about a vault.</summary>
public sealed class KnownVault
{
    /// <summary>The name of its module.</summary>
    public string Module { get; init; } = "";

    /// <summary>The extension's Set-Secret takes metadata.</summary>
    public bool Metadata { get; init; }

    /// <summary>The extension has a Set-SecretInfo.</summary>
    public bool SetInfo { get; init; }

    /// <summary>
    /// The extension's own functions, where it is known to keep its state in the process and not in SecretManagement's runspace:
    /// half of Get-Secret's time is the way there, and nearly all of Get-SecretInfo's.
    /// </summary>
    public IDictionary Functions { get; init; } = new Hashtable();
}

/// <summary>The registered vaults, SecretManagement's cmdlets, and the passwords that have opened a vault.</summary>
public static class Vaults
{
    /// <summary>SecretStore's module.</summary>
    public const string SecretStore = "Microsoft.PowerShell.SecretStore";

    private const string SecretManagement = "Microsoft.PowerShell.SecretManagement";

    // All vaults of SecretStore are one store with one password. No vault has a name with wildcards.
    private const string StoreName = "*";

    private static readonly Dictionary<string, SecureString> s_passwords = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>The vaults, by name.</summary>
    public static Dictionary<string, KnownVault> Known { get; } = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>SecretManagement's cmdlets, looked up once: a proxy that a script defines is never called instead. Null where it is not installed.</summary>
    public static Hashtable? Cmdlets { get; set; }

    /// <summary>One of SecretManagement's cmdlets.</summary>
    public static CommandInfo Cmdlet(string name)
    {
        if (Cmdlets is null)
        {
            throw new BridgeException("SecretManagementMissing", $"the module {SecretManagement} is not installed (hint: Install-PSResource {SecretManagement}, in pwsh)", ErrorCategory.NotInstalled);
        }
        return PlainJson.Bare(Cmdlets[name]) as CommandInfo ?? throw new BridgeException("SecretManagementMissing", $"{SecretManagement} has no {name}", ErrorCategory.NotInstalled);
    }

    /// <summary>Whether a vault is a SecretStore.</summary>
    public static bool IsSecretStore(string vault) => Known.TryGetValue(vault, out KnownVault? known) && known.Module.Equals(SecretStore, StringComparison.OrdinalIgnoreCase);

    /// <summary>Forgets a vault.</summary>
    public static void Forget(string vault)
    {
        s_passwords.Remove(vault);
        Known.Remove(vault);
    }

    /// <summary>The password that has opened a vault; null where none has.</summary>
    public static SecureString? Password(string vault) => s_passwords.GetValueOrDefault(PasswordName(vault));

    /// <summary>Remembers a password that has opened a vault.</summary>
    public static void Remember(string vault, SecureString password) => s_passwords[PasswordName(vault)] = password;

    /// <summary>Remembers the password that has opened the store of all SecretStore's vaults.</summary>
    public static void RememberStore(SecureString password) => s_passwords[StoreName] = password;

    private static string PasswordName(string vault) => IsSecretStore(vault) ? StoreName : vault;
}
