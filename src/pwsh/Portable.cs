using System;
using System.Collections;
using System.Collections.Generic;
using System.Collections.Specialized;
using System.Linq;
using System.Management.Automation;
using System.Security;

namespace SecretBridge;

/// <summary>Any value in the form that travels: the types of a secret as <see cref="Values"/> has them. What has no form of its own goes as CLIXML: a copy, without methods.</summary>
public static class Portable
{
    /// <summary>So deep values are copied and looked into.</summary>
    public const int Depth = 10;

    /// <summary>Gives a script block as it travels.</summary>
    public static Func<ScriptBlock, object>? FromBlock { get; set; }

    /// <summary>Compiles a block that came.</summary>
    public static Func<object?, object>? ToBlock { get; set; }

    /// <summary>A value as `{t, v}`.</summary>
    public static OrderedDictionary Tag(object? value)
    {
        switch (PlainJson.Bare(value))
        {
            case null:
                OrderedDictionary nothing = PlainJson.NewObject();
                nothing["t"] = "null";
                return nothing;
            case bool flag:
                return Values.Tagged("bool", flag);
            case int number:
                return Values.Tagged("int", (long)number);
            case long number:
                return Values.Tagged("int", number);
            case ScriptBlock block when FromBlock is not null:
                return Values.Tagged("block", PlainJson.Bare(FromBlock(block)));
        }
        return Values.TryTag(value, false, out _) ?? Values.Tagged("clixml", Values.Checked(PSSerializer.Serialize(value, Depth)));
    }

    /// <summary>What a `{t, v}` stands for.</summary>
    public static object? Untag(IDictionary tagged)
    {
        object? value = PlainJson.Bare(tagged["v"]);
        switch (PlainJson.Bare(tagged["t"]) as string)
        {
            case "null":
                return null;
            case "int" or "bool":
                return value;
            case "block" when ToBlock is not null:
                return PlainJson.Bare(ToBlock(value));
            case "shared":
                return Pode.Shared.Get(Convert.ToInt64(value)).Live;
            case "hashtable" when value is IDictionary members:
                return Values.Table(members, Untag);
            case "clixml":
                object copy = PSSerializer.Deserialize(PlainJson.Text(value));
                // An array comes back as a list that says what it was.
                return copy is PSObject { BaseObject: ArrayList list } wrapped && wrapped.TypeNames.Any(name => name.EndsWith("[]", StringComparison.Ordinal))
                    ? list.ToArray()
                    : copy;
            default:
                return Values.Untag(tagged);
        }
    }

    /// <summary>Several values as `{t, v}`.</summary>
    public static object?[] TagList(IEnumerable? values) => values is null ? [] : values.Cast<object?>().Select(value => (object?)Tag(value)).ToArray();

    /// <summary>What several `{t, v}` stand for.</summary>
    public static object?[] UntagList(IEnumerable? values) =>
        values is null ? [] : values.Cast<object?>().Where(value => value is not null).Select(value => Untag((IDictionary)PlainJson.Bare(value)!)).ToArray();

    /// <summary>Has every text of a secret starred out of what the request logs.</summary>
    public static void Note(object? value, int depth = 0)
    {
        switch (PlainJson.Bare(value))
        {
            case string text:
                Redaction.Add(text);
                break;
            case null or ValueType or byte[]:
                break;
            case SecureString secure:
                Redaction.Add(SecureText.Reveal(secure));
                break;
            case PSCredential credential:
                Redaction.Add(SecureText.Reveal(credential.Password));
                break;
            case IDictionary members when depth <= Depth:
                NoteAll(members.Values, depth);
                break;
            case IList items when depth <= Depth:
                NoteAll(items, depth);
                break;
            case PSObject shaped when depth <= Depth:
                NoteAll(shaped.Properties.Select(property => property.Value), depth);
                break;
        }
    }

    /// <summary>Whether a value means the same in another process.</summary>
    public static bool IsPlain(object? value, int depth = 0)
    {
        if (depth > Depth)
        {
            return true;
        }
        bool AllPlain(IEnumerable items) => items.Cast<object?>().All(item => IsPlain(item, depth + 1));
        return PlainJson.Bare(value) switch
        {
            null or string or ValueType or SecureString or PSCredential or ScriptBlock or Uri or Version or byte[] => true,
            IDictionary members => AllPlain(members.Values),
            IList items => AllPlain(items),
            PSObject custom => AllPlain(custom.Properties.Select(property => property.Value)),
            _ => false,
        };
    }

    private static void NoteAll(IEnumerable items, int depth)
    {
        foreach (object? item in items)
        {
            Note(item, depth + 1);
        }
    }
}
