using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;
using System.Security;
using System.Text;

namespace SecretBridge;

/// <summary>Tagged values: the five types of a secret as plain objects, and back.</summary>
public static class Values
{
    /// <summary>Throws on a lone surrogate, where the default encoding would put U+FFFD without a word.</summary>
    public static readonly UTF8Encoding StrictUtf8 = new(false, true);

    /// <summary>A secret as a vault gave it, as `{t, v}`.</summary>
    public static OrderedDictionary Tag(object? value) =>
        TryTag(value, true, out object? misfit) ?? throw new BridgeException("ValueTypeNotSupported", misfit is null ? "a value is null" : $"a value is of type {PlainJson.TypeOf(misfit)?.FullName}");

    /// <summary>
    /// The same for a value that may be of another type: then null, and the misfit is the value or the member that is. What a vault
    /// gave came through a pipeline, which takes byte arrays apart, and its tables may be of any kind.
    /// </summary>
    public static OrderedDictionary? TryTag(object? value, bool fromVault, out object? misfit)
    {
        misfit = null;
        switch (PlainJson.Bare(value))
        {
            case string text:
                return Tagged("string", Checked(text));
            case SecureString secure:
                return Tagged("securestring", Checked(SecureText.Reveal(secure)));
            case byte[] bytes:
                return Tagged("bytes", Convert.ToBase64String(bytes));
            case PSCredential credential:
                OrderedDictionary fields = PlainJson.NewObject();
                fields["user"] = Checked(credential.UserName);
                fields["password"] = Checked(SecureText.Reveal(credential.Password));
                return Tagged("credential", fields);
            case byte one when fromVault:
                return Tagged("bytes", Convert.ToBase64String([one]));
            case object[] list when fromVault && Bytes(list) is byte[] bytes:
                return Tagged("bytes", Convert.ToBase64String(bytes));
            case IDictionary table when fromVault || (table is Hashtable && table.Keys.Cast<object>().All(key => key is string)):
                OrderedDictionary members = PlainJson.NewObject();
                foreach (DictionaryEntry entry in table)
                {
                    if (TryTag(entry.Value, fromVault, out misfit) is not OrderedDictionary member)
                    {
                        return null;
                    }
                    members[Checked(PlainJson.Text(entry.Key))] = member;
                }
                return Tagged("hashtable", members);
            default:
                misfit = value;
                return null;
        }
    }

    /// <summary>What a plain `{t, v}` stands for. Texts inside are added to the secrets, if there is such a list.</summary>
    public static object Untag(IDictionary tagged, ICollection<string>? secrets = null)
    {
        object? value = tagged["v"];
        switch (PlainJson.Bare(tagged["t"]) as string)
        {
            case "string":
                return Noted(Of<string>(value), secrets);
            case "securestring":
                return SecureText.Make(Noted(Of<string>(value), secrets));
            case "bytes":
                return FromBase64(Of<string>(value));
            case "hashtable":
                return Table(Of<IDictionary>(value), member => Untag(member, secrets));
            case "credential":
                IDictionary fields = Of<IDictionary>(value);
                string password = Noted(Fields.Text(fields, "password"), secrets);
                string user = Fields.Text(fields, "user");
                if (user.Length == 0)
                {
                    throw new BridgeException("ValueNotRepresentable", "a PSCredential has a user name");
                }
                return new PSCredential(user, SecureText.Make(password));
            case string other:
                throw new BridgeException("BadCall", $"there is no value type '{other}'");
            case null:
                throw new BridgeException("BadCall", "there is no value type ''");
        }
    }

    /// <summary>A text that UTF-8 can hold; any other is refused.</summary>
    public static string Checked(string text)
    {
        try
        {
            StrictUtf8.GetByteCount(text);
            return text;
        }
        catch (EncoderFallbackException)
        {
            throw new BridgeException("ValueNotRepresentable", "a text has a lone surrogate, which UTF-8 cannot hold");
        }
    }

    /// <summary>A fresh table as PowerShell's own, which compares its keys without case.</summary>
    public static Hashtable NewTable() => new(StringComparer.CurrentCultureIgnoreCase);

    /// <summary>`{t, v}`.</summary>
    public static OrderedDictionary Tagged(string type, object? value)
    {
        OrderedDictionary tagged = PlainJson.NewObject();
        tagged["t"] = type;
        tagged["v"] = value;
        return tagged;
    }

    /// <summary>A list that holds bytes only, as an array of them; else null.</summary>
    public static byte[]? Bytes(object?[] list)
    {
        if (list.Length == 0)
        {
            return null;
        }
        byte[] bytes = new byte[list.Length];
        for (int i = 0; i < list.Length; i++)
        {
            if (PlainJson.Bare(list[i]) is not byte one)
            {
                return null;
            }
            bytes[i] = one;
        }
        return bytes;
    }

    /// <summary>A table of tagged members, each read by the given function.</summary>
    internal static Hashtable Table(IDictionary members, Func<IDictionary, object?> untag)
    {
        Hashtable table = NewTable();
        foreach (DictionaryEntry entry in members)
        {
            if (table.ContainsKey(entry.Key))
            {
                throw new BridgeException("ValueNotRepresentable", $"the table has two members '{entry.Key}' that differ in case only");
            }
            table[entry.Key] = untag(Of<IDictionary>(entry.Value));
        }
        return table;
    }

    private static byte[] FromBase64(string text)
    {
        try
        {
            return Convert.FromBase64String(text);
        }
        catch (FormatException)
        {
            throw new BridgeException("BadCall", "bytes are not base64");
        }
    }

    private static T Of<T>(object? value)
        where T : class =>
        PlainJson.Bare(value) as T ?? throw new BridgeException("BadCall", "a value does not fit its tag");

    private static string Noted(string text, ICollection<string>? secrets)
    {
        secrets?.Add(text);
        return text;
    }
}
