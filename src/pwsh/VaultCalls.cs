using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;
using System.Security;
using System.Text.RegularExpressions;

namespace SecretBridge;

/// <summary>
/// The calls on vaults, by SecretManagement's own cmdlets, and by an extension's own functions where it is known to give the
/// same. Each takes the call's fields and the list of its secret texts, and gives the reply's `ok`.
/// </summary>
public static class VaultCalls
{
    // WildcardPattern.Escape leaves the backtick alone before pwsh 7.6.
    private static readonly Regex Wild = new(@"[*?\[\]`]", RegexOptions.CultureInvariant);

    /// <summary>The calls by name.</summary>
    public static IReadOnlyDictionary<string, Func<IDictionary, List<string>, object?>> Operations { get; } =
        new Dictionary<string, Func<IDictionary, List<string>, object?>>(StringComparer.Ordinal)
        {
            ["get"] = Get,
            ["set"] = Set,
            ["remove"] = Remove,
            ["info"] = Info,
            ["test"] = Test,
        };

    /// <summary>Unlocks, and remembers the password once it has opened the vault. An extension that has nothing to unlock says so by a warning.</summary>
    public static void Unlock(string vault, SecureString password, ICollection<string>? secrets)
    {
        Cmdlets.Invoke(Vaults.Cmdlet("Unlock-SecretVault"), new Hashtable { ["Name"] = vault, ["Password"] = password }, secrets);
        Vaults.Remember(vault, password);
    }

    /// <summary>The field `password` as a SecureString; null where it is missing.</summary>
    public static SecureString? Password(IDictionary fields, ICollection<string>? secrets)
    {
        if (fields["password"] is null)
        {
            return null;
        }
        return Values.Untag(Fields.Object(fields, "password"), secrets) switch
        {
            string text => SecureText.Make(text),
            SecureString secure => secure,
            _ => throw new BridgeException("BadCall", "a password is a string or a SecureString"),
        };
    }

    private static OrderedDictionary Get(IDictionary fields, List<string> secrets)
    {
        (string vault, string name) = Begin(fields, secrets);
        object? value = OwnSecret(vault, name)
            ?? Cmdlets.Invoke(Vaults.Cmdlet("Get-Secret"), new Hashtable { ["Name"] = name, ["Vault"] = vault, ["AsPlainText"] = true }, secrets)
            ?? throw new BridgeException("GetSecretNotFound", $"The secret {name} was not found.", ErrorCategory.ObjectNotFound);
        OrderedDictionary tagged = Values.Tag(value);
        OrderedDictionary metadata = PlainJson.NewObject();
        if (Fields.Flag(fields, "detail") && FindInfo(vault, name, secrets) is PSObject info)
        {
            if ((string?)tagged["t"] == "string" && Type(info) == "SecureString")
            {
                tagged["t"] = "securestring";
            }
            metadata = Metadata.Tag(Member(info, "Metadata") as IEnumerable);
        }
        return Reply("value", tagged, "metadata", metadata);
    }

    private static OrderedDictionary Set(IDictionary fields, List<string> secrets)
    {
        object value = Values.Untag(Fields.Object(fields, "value"), secrets);
        (string vault, string name) = Begin(fields, secrets);
        Hashtable call = new() { ["Name"] = name, ["Vault"] = vault, ["Confirm"] = false };
        if (Fields.Flag(fields, "metadata_only") && Vaults.Known.TryGetValue(vault, out KnownVault? known) && known.SetInfo)
        {
            call["Metadata"] = PlainJson.Bare(fields["metadata"]) is IDictionary { Count: > 0 } own ? Metadata.Untag(own) : new Hashtable();
            Cmdlets.Invoke(Vaults.Cmdlet("Set-SecretInfo"), call, secrets);
            return PlainJson.NewObject();
        }
        call[value is SecureString ? "SecureStringSecret" : "Secret"] = value;
        if (NextMetadata(fields, vault, name, secrets) is { Count: > 0 } metadata)
        {
            call["Metadata"] = metadata;
        }
        Cmdlets.Invoke(Vaults.Cmdlet("Set-Secret"), call, secrets);
        return PlainJson.NewObject();
    }

    private static OrderedDictionary Remove(IDictionary fields, List<string> secrets)
    {
        (string vault, string name) = Begin(fields, secrets);
        Cmdlets.Invoke(Vaults.Cmdlet("Remove-Secret"), new Hashtable { ["Name"] = name, ["Vault"] = vault, ["Confirm"] = false }, secrets);
        return PlainJson.NewObject();
    }

    private static OrderedDictionary Info(IDictionary fields, List<string> secrets)
    {
        string vault = Fields.Text(fields, "vault");
        Refresh(fields, vault, secrets);
        IEnumerable<PSObject> found = fields["name"] is null
            ? InfoList(vault, "*", secrets)
            : FindInfo(vault, Fields.Text(fields, "name"), secrets) is PSObject one ? [one] : [];
        List<OrderedDictionary> items = [];
        foreach (PSObject info in found)
        {
            OrderedDictionary item = Reply("name", Values.Checked(PlainJson.Text(Member(info, "Name"))), "type", Type(info));
            item["metadata"] = Metadata.Tag(Member(info, "Metadata") as IEnumerable);
            items.Add(item);
        }
        OrderedDictionary reply = PlainJson.NewObject();
        reply["secrets"] = items.OrderBy(item => (string)item["name"]!, StringComparer.OrdinalIgnoreCase).ToArray<object>();
        if (Cmdlets.Warned)
        {
            reply["warned"] = true;
        }
        return reply;
    }

    /// <summary>Whether the vault's own test finds it ready. An error of the test is a no.</summary>
    private static OrderedDictionary Test(IDictionary fields, List<string> secrets)
    {
        string vault = Fields.Text(fields, "vault");
        object? ready = null;
        try
        {
            ready = Cmdlets.Invoke(Vaults.Cmdlet("Test-SecretVault"), new Hashtable { ["Name"] = vault }, secrets);
        }
        catch (BridgeException exception)
        {
            Log.Write("debug", $"Test-SecretVault of '{vault}' gave an error: {exception.ErrorRecord.Exception.GetType().FullName}", secrets);
        }
        object? last = Items(ready).LastOrDefault();
        OrderedDictionary reply = PlainJson.NewObject();
        reply["ready"] = last is not null && LanguagePrimitives.Equals(last, true);
        return reply;
    }

    private static (string Vault, string Name) Begin(IDictionary fields, List<string> secrets)
    {
        (string vault, string name) = (Fields.Text(fields, "vault"), Fields.Text(fields, "name"));
        Refresh(fields, vault, secrets);
        return (vault, name);
    }

    /// <summary>With `refresh`: unlocks with the remembered password, at which SecretStore reads its file again.</summary>
    private static void Refresh(IDictionary fields, string vault, List<string> secrets)
    {
        if (Fields.Flag(fields, "refresh") && Vaults.Password(vault) is SecureString password)
        {
            Unlock(vault, password, secrets);
        }
    }

    /// <summary>
    /// What an extension's own function gives. Null where it gives an error or anything unlike a plain success: SecretManagement
    /// is asked then, and says why.
    /// </summary>
    private static object?[]? OwnFunction(string vault, string name, string parameter, string argument)
    {
        if (!Vaults.Known.TryGetValue(vault, out KnownVault? known) || PlainJson.Bare(known.Functions[name]) is not CommandInfo function)
        {
            return null;
        }
        Hashtable parameters = new() { [parameter] = argument, ["VaultName"] = vault, ["AdditionalParameters"] = new Hashtable { ["Verbose"] = false } };
        return Cmdlets.TryFunction(function, parameters);
    }

    /// <summary>A secret as Get-Secret -AsPlainText would give it.</summary>
    private static object? OwnSecret(string vault, string name)
    {
        if (OwnFunction(vault, "Get-Secret", "Name", name) is not { Length: 1 } output)
        {
            return null;
        }
        object? found = PlainJson.Bare(output[0]);
        // `Write-Output -NoEnumerate` gives a list of what it is given by position, which SecretManagement takes apart.
        if (found is List<object> { Count: 1 } one)
        {
            found = PlainJson.Bare(one[0]);
        }
        switch (found)
        {
            case SecureString secure:
                return SecureText.Reveal(secure);
            case string or byte[] or PSCredential:
                return found;
            case Hashtable table:
                // Not the table itself, which the extension may keep.
                Hashtable plain = Values.NewTable();
                foreach (DictionaryEntry entry in table)
                {
                    plain[entry.Key] = PlainJson.Bare(entry.Value) is SecureString member ? SecureText.Reveal(member) : entry.Value;
                }
                return plain;
            default:
                return null;
        }
    }

    /// <summary>
    /// The metadata to send with a Set: the call's own; with `keep_metadata` the present one, because a Set without erases it.
    /// </summary>
    private static Hashtable? NextMetadata(IDictionary fields, string vault, string name, List<string> secrets)
    {
        bool supported = !Vaults.Known.TryGetValue(vault, out KnownVault? known) || known.Metadata || known.SetInfo;
        IDictionary? own = PlainJson.Bare(fields["metadata"]) as IDictionary;
        if (own is { Count: > 0 })
        {
            // SecretManagement would write the secret, fail on the metadata, and remove the secret again,
            // the one of before included.
            return supported ? Metadata.Untag(own) : throw new BridgeException("SetSecretMetadataCommandNotSupported", $"the vault '{vault}' keeps no metadata", ErrorCategory.NotImplemented);
        }
        if (own is not null || !Fields.Flag(fields, "keep_metadata") || !supported)
        {
            return null;
        }
        try
        {
            return FindInfo(vault, name, secrets) is PSObject info && Member(info, "Metadata") is IEnumerable metadata ? Metadata.Copy(metadata) : null;
        }
        catch (BridgeException exception)
        {
            Log.Write("warning", $"the metadata of a secret in '{vault}' could not be read, so it is written without: {exception.ErrorRecord.Exception.GetType().FullName}", secrets);
            return null;
        }
    }

    /// <summary>The information of the secret of exactly this name, in any case; null, if there is none.</summary>
    private static PSObject? FindInfo(string vault, string name, List<string> secrets)
    {
        bool IsIt(PSObject info) => name.Equals(PlainJson.Text(Member(info, "Name")), StringComparison.OrdinalIgnoreCase);
        PSObject? found = InfoList(vault, Wild.Replace(name, "`$0"), secrets).FirstOrDefault(IsIt);
        // Az.KeyVault's filter is case-sensitive, its names are not. SecretStore's filter is right.
        return found ?? (Vaults.IsSecretStore(vault) ? null : InfoList(vault, "*", secrets).FirstOrDefault(IsIt));
    }

    private static IEnumerable<PSObject> InfoList(string vault, string filter, List<string> secrets)
    {
        IEnumerable<object?> all = OwnFunction(vault, "Get-SecretInfo", "Filter", filter)
            ?? Items(Cmdlets.Invoke(Vaults.Cmdlet("Get-SecretInfo"), new Hashtable { ["Name"] = filter, ["Vault"] = vault }, secrets));
        return all.Where(info => info is not null).Select(PSObject.AsPSObject!);
    }

    private static object? Member(PSObject info, string name) => PlainJson.Bare(info.Properties[name]?.Value);

    private static string Type(PSObject info) => Member(info, "Type")?.ToString() ?? "Unknown";

    private static IEnumerable<object?> Items(object? output) => PlainJson.Bare(output) switch
    {
        null => [],
        object?[] many => many,
        _ => [output],
    };

    private static OrderedDictionary Reply(string first, object? value, string second, object? other)
    {
        OrderedDictionary reply = PlainJson.NewObject();
        reply[first] = value;
        reply[second] = other;
        return reply;
    }
}
